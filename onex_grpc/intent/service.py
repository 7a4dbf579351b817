"""IntentQueueService over a store: the queue of the intents that a reducer has emitted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from onex.v1 import error_pb2, intent_pb2, intent_pb2_grpc
from onex_grpc.errors import ContractValidationError, Violation
from onex_grpc.intent.cancelling import cancel
from onex_grpc.intent.connected import ConnectedWorkers
from onex_grpc.intent.figures import queue_figures
from onex_grpc.intent.outbox import MOST_DELIVERIES, STREAM_BYTES
from onex_grpc.intent.stream import StreamHost, WorkerStream
from onex_grpc.intent.unserved import UnservedRoutes
from onex_grpc.store.model import IntentState, StoredIntent
from onex_grpc.store.portion import Portion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from onex_grpc.intent.cancelling import FindEmitted
    from onex_grpc.intent.stream import Draining
    from onex_grpc.store.protocol import IntentStore

_PAGE: Final = 100
_PAGE_BYTES: Final = 1024 * 1024
_REDRIVE_AT_ONCE: Final = 500
_VISIBILITY: Final = 30.0


async def _know_no_actions(action_id: str) -> Sequence[str]:
    return ()


class IntentQueue(intent_pb2_grpc.IntentQueueServiceServicer):
    """Pushes intents to workers and keeps their reports.

    Args:
        store: that of the reducer, which holds the intents.
        draining: returns when the node stops, so that the streams end; workers come back.
        visibility: seconds after which an intent whose worker went silent is delivered again.
        find_emitted: gives the ids of the intents that an action of the reducer has emitted.
    """

    def __init__(
        self,
        store: IntentStore,
        draining: Draining | None = None,
        visibility: float = _VISIBILITY,
        *,
        find_emitted: FindEmitted = _know_no_actions,
    ) -> None:
        self._store = store
        self._draining = draining or asyncio.Event().wait
        self._connected = ConnectedWorkers()
        self._host = StreamHost(
            store,
            Portion(MOST_DELIVERIES, STREAM_BYTES),
            self._connected,
            round(visibility * 1_000_000),
        )
        self._unserved = UnservedRoutes()
        self._find_emitted = find_emitted

    async def TakeIntents(
        self,
        request_iterator: AsyncIterator[intent_pb2.TakeIntentsRequest],
        context: object,
    ) -> AsyncIterator[intent_pb2.TakeIntentsResponse]:
        """Pushes intents as the worker gives credit, and settles its reports."""
        responses = WorkerStream(self._host).run(request_iterator, self._draining)
        try:
            async for response in responses:
                yield response
        finally:
            await responses.aclose()

    async def ListIntents(
        self, request: intent_pb2.ListIntentsRequest, context: object
    ) -> intent_pb2.ListIntentsResponse:
        """One page of the intents of a status, oldest first."""
        size = request.page_size or _PAGE
        rows = await self._store.list_intents(
            IntentState(request.status), _position(request.page_token), size + 1
        )
        page = _fitting(rows[:size])
        return intent_pb2.ListIntentsResponse(
            intents=[_queued(row) for row in page],
            next_page_token=str(page[-1].sequence) if len(rows) > len(page) else "",
        )

    async def RedriveIntents(
        self, request: intent_pb2.RedriveIntentsRequest, context: object
    ) -> intent_pb2.RedriveIntentsResponse:
        """Revives dead intents; all of them in portions, between which others write."""
        if not request.all:
            redriven = await self._store.redrive_intents(list(request.intent_ids))
            return intent_pb2.RedriveIntentsResponse(redriven=redriven)
        redriven, left = 0, (await self._store.queue_stats()).dead
        # One that dies again meanwhile is not revived twice.
        while left > 0 and (some := await self._store.redrive_dead(min(left, _REDRIVE_AT_ONCE))):
            redriven += some
            left -= some
        return intent_pb2.RedriveIntentsResponse(redriven=redriven)

    async def CancelIntents(
        self, request: intent_pb2.CancelIntentsRequest, context: object
    ) -> intent_pb2.CancelIntentsResponse:
        """Ends what no worker has taken; raises as a commit does under a lease that is outdated."""
        told = await cancel(self._store, request, self._find_emitted)
        return intent_pb2.CancelIntentsResponse(cancellation=told)

    async def GetQueueStats(
        self, request: intent_pb2.GetQueueStatsRequest, context: object
    ) -> intent_pb2.GetQueueStatsResponse:
        """The figures of the queue, and which workers there are for what waits."""
        figures = queue_figures(await self._store.queue_stats(), self._connected)
        self._unserved.look(figures)
        return figures


def _position(page_token: str) -> int:
    if not page_token:
        return 0
    if not page_token.isascii() or not page_token.isdecimal() or len(page_token) > 18:
        raise ContractValidationError.of(
            Violation("page_token", "is not one that this queue gave; start without one")
        )
    return int(page_token)


def _fitting(rows: Sequence[StoredIntent]) -> Sequence[StoredIntent]:
    """The first of the rows, as many as make no page too large for a message; one at least."""
    size = 0
    for index, row in enumerate(rows):
        size += len(row.payload) + len(row.last_error)
        if index and size > _PAGE_BYTES:
            return rows[:index]
    return rows


def _queued(row: StoredIntent) -> intent_pb2.QueuedIntent:
    queued = intent_pb2.QueuedIntent(
        intent=intent_pb2.ModelIntent.FromString(row.payload),
        status=intent_pb2.IntentStatus.ValueType(row.state),
        attempts=row.attempts,
    )
    if row.last_error:
        queued.last_error.CopyFrom(error_pb2.ErrorDetail.FromString(row.last_error))
    return queued
