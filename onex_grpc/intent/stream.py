"""One stream between the queue and a worker: deliveries out as credit allows, reports in."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from onex.v1 import intent_pb2
from onex_grpc.errors import ContractValidationError, NodeUnavailableError, Violation
from onex_grpc.intent.claims import Claim, ClaimLedger
from onex_grpc.intent.reports import LOST, Reports

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Sequence,
    )

    from onex_grpc.intent.connected import ConnectedWorkers
    from onex_grpc.store.model import ClaimedIntent
    from onex_grpc.store.protocol import IntentStore

    Draining = Callable[[], Awaitable[object]]

_CLAIM_AT_ONCE: Final = 100


class WorkerStream:
    """The queue's end of a TakeIntents stream.

    Three tasks share it: one hears the worker, one claims and delivers, one settles reports.
    """

    def __init__(
        self,
        store: IntentStore,
        ledger: ClaimLedger,
        connected: ConnectedWorkers,
        visibility_us: int,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._connected = connected
        self._visibility_us = visibility_us
        self._worker = ""
        self._accepts: frozenset[str] = frozenset()
        self._claims: dict[str, Claim] = {}
        self._reports = Reports(store, self._claims, visibility_us, self._tell)
        self._credit = 0
        self._credited = asyncio.Event()
        self._said_goodbye = False
        self._claiming: asyncio.Future[Sequence[ClaimedIntent]] | None = None
        self._out: asyncio.Queue[intent_pb2.TakeIntentsResponse | None] = asyncio.Queue()
        self._error: Exception | None = None

    async def run(
        self, requests: AsyncIterator[intent_pb2.TakeIntentsRequest], draining: Draining
    ) -> AsyncGenerator[intent_pb2.TakeIntentsResponse, None]:
        """What the queue says to the worker, until one of them leaves."""
        leaving: asyncio.Future[object] = asyncio.ensure_future(draining())
        leaving.add_done_callback(self._leave)
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._greet(requests)
            work = (partial(self._hear, requests), self._deliver, self._settle)
            tasks += [asyncio.create_task(self._guarded(part)) for part in work]
            with self._connected.joined(self._worker, self._accepts):
                while (response := await self._out.get()) is not None:
                    yield response
            if self._error is not None:
                raise self._error
        finally:
            leaving.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._part()

    async def _greet(self, requests: AsyncIterator[intent_pb2.TakeIntentsRequest]) -> None:
        first = await anext(requests, None)
        if first is None or not first.HasField("hello"):
            raise ContractValidationError.of(Violation("message", "begin the stream with a hello"))
        self._worker = first.hello.worker
        self._accepts = frozenset(first.hello.accepts)
        held = list(first.hello.held_claim_tokens)
        # What it does not name it never got, or it died with it; nobody needs to wait for that.
        keep = self._ledger.come_back(self._worker, held, self._claims)
        await self._store.take_back_intents(self._worker, keep)
        if held:
            alive = await self._store.extend_intents(held, self._visibility_us)
            for token, is_alive in zip(held, alive, strict=True):
                if not is_alive:
                    self._claims.pop(token, None)
                    self._tell(token, LOST)

    async def _guarded(self, part: Callable[[], Awaitable[None]]) -> None:
        """Ends the stream with the error of one of its tasks."""
        # A callable, since a task that is cancelled before it begins would never await a coroutine.
        try:
            await part()
        except Exception as error:
            self._end(error)

    def _leave(self, leaving: asyncio.Future[object]) -> None:
        if not leaving.cancelled():
            self._end(NodeUnavailableError("the queue is stopping; connect again"))

    def _end(self, error: Exception | None) -> None:
        self._error = self._error or error
        self._out.put_nowait(None)

    async def _hear(self, requests: AsyncIterator[intent_pb2.TakeIntentsRequest]) -> None:
        async for request in requests:
            match request.WhichOneof("message"):
                case "credit":
                    self._credit += request.credit.count
                    self._credited.set()
                case "complete":
                    self._reports.complete(request.complete)
                case "fail":
                    self._reports.fail(request.fail)
                case "extend":
                    self._reports.extend(request.extend)
                case "goodbye":
                    self._said_goodbye = True
                    self._credit = 0
                    self._reports.no_more()
                    return
                case _:
                    raise ContractValidationError.of(
                        Violation("message.hello", "only the first message is a hello")
                    )
        self._end(None)

    async def _deliver(self) -> None:
        while True:
            await self._credited.wait()
            while self._credit > 0:
                claimed = await self._claim()
                self._credit -= len(claimed)
                for intent in claimed:
                    self._hand_over(intent)
                if not claimed:
                    await self._store.wait_intents(None, self._accepts)
            self._credited.clear()

    async def _claim(self) -> Sequence[ClaimedIntent]:
        limit = min(self._credit, _CLAIM_AT_ONCE)
        self._claiming = asyncio.ensure_future(
            self._store.claim_intents(self._worker, limit, self._visibility_us, self._accepts)
        )
        try:
            # Shielded: a claim made for a stream that ended meanwhile must be given back.
            claimed = await asyncio.shield(self._claiming)
        except Exception:
            self._claiming = None
            raise
        self._claiming = None
        return claimed

    def _hand_over(self, claimed: ClaimedIntent) -> None:
        intent = intent_pb2.ModelIntent.FromString(claimed.payload)
        token = claimed.claim_token
        self._claims[token] = Claim.of(token, claimed.attempt, intent)
        delivery = intent_pb2.IntentDelivery(
            intent=intent,
            claim_token=claimed.claim_token,
            attempt=claimed.attempt,
            traceparent=claimed.traceparent,
            redrives=claimed.redrives,
        )
        delivery.visibility_timeout.FromMicroseconds(self._visibility_us)
        self._out.put_nowait(intent_pb2.TakeIntentsResponse(delivery=delivery))

    async def _settle(self) -> None:
        await self._reports.settle()
        self._end(None)

    def _tell(self, token: str, status: intent_pb2.IntentStatus.ValueType) -> None:
        settled = intent_pb2.IntentSettled(claim_token=token, status=status)
        self._out.put_nowait(intent_pb2.TakeIntentsResponse(settled=settled))

    async def _part(self) -> None:
        """Gives back what the worker never got, and all that it holds if it said goodbye."""
        unsent: list[str] = []
        if self._claiming is not None:
            unsent += [intent.claim_token for intent in await self._claiming]
        while not self._out.empty():
            response = self._out.get_nowait()
            if response is not None and response.HasField("delivery"):
                unsent.append(response.delivery.claim_token)
        if self._said_goodbye:
            unsent = list(dict.fromkeys([*self._claims, *unsent]))
        for token in unsent:
            self._claims.pop(token, None)
        self._ledger.leave(self._worker, self._claims)
        if unsent:
            await self._store.release_intents(unsent)
