"""One stream between the queue and a worker: deliveries out as credit allows, reports in."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from onex.v1 import intent_pb2
from onex_grpc.errors import ContractValidationError, NodeUnavailableError, Violation
from onex_grpc.intent.claims import Claim, ClaimLedger
from onex_grpc.intent.outbox import MOST_HELD, Backlog, Outbox
from onex_grpc.intent.reports import LOST, Reports

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

    from onex_grpc.intent.connected import ConnectedWorkers
    from onex_grpc.store.model import ClaimedIntent
    from onex_grpc.store.portion import Portion
    from onex_grpc.store.protocol import IntentStore

    Draining = Callable[[], Awaitable[object]]
    Requests = AsyncIterator[intent_pb2.TakeIntentsRequest]

_log = logging.getLogger(__name__)


class StreamHost:
    """The state that all streams of one queue share.

    Args:
        store: that of the queue.
        portion: how many intents a stream claims at once.
        connected: hears of each worker.
        visibility_us: how long a claim lasts.
    """

    def __init__(
        self,
        store: IntentStore,
        portion: Portion,
        connected: ConnectedWorkers,
        visibility_us: int,
    ) -> None:
        self.store = store
        self.portion = portion
        self.connected = connected
        self.visibility_us = visibility_us
        self.ledger = ClaimLedger()
        self.backlog = Backlog()


class WorkerStream:
    """The queue's end of a TakeIntents stream.

    However it ends, all reports that have arrived are settled first, and intents that were never
    sent are given back.
    """

    def __init__(self, host: StreamHost) -> None:
        self._host = host
        self._store = host.store
        self._worker = ""
        self._accepts: frozenset[str] = frozenset()
        self._claims: dict[str, Claim] = {}
        self._outbox = Outbox(host.backlog)
        self._reports = Reports(self._store, self._claims, host.visibility_us, self._outbox.confirm)
        self._credit = 0
        self._credited = asyncio.Event()
        self._said_goodbye = False
        self._unsent: list[str] = []
        self._claiming: asyncio.Future[Sequence[ClaimedIntent]] | None = None
        self._gone = asyncio.Event()
        self._error: BaseException | None = None

    async def run(
        self, requests: Requests, draining: Draining
    ) -> AsyncGenerator[intent_pb2.TakeIntentsResponse, None]:
        """Yield what the queue says to the worker, until one of them leaves."""
        holding = asyncio.create_task(self._hold(requests, draining))
        try:
            while (response := await self._outbox.take()) is not None:
                yield response
            if self._error is not None:
                raise self._error
        finally:
            self._gone.set()
            # Shielded: a call that is cut off ends here, its reports are settled nevertheless.
            await asyncio.shield(holding)

    async def _hold(self, requests: Requests, draining: Draining) -> None:
        """Serve the worker until one side leaves, and part then. Keeps the error, raises none."""
        settling = asyncio.create_task(self._reports.settle())
        serving = [
            asyncio.create_task(self._hear(requests)),
            asyncio.create_task(self._deliver()),
            asyncio.create_task(self._relieve()),
            asyncio.create_task(_leave(draining)),
            asyncio.create_task(_wait(self._gone)),
        ]
        await asyncio.wait((settling, *serving), return_when=asyncio.FIRST_COMPLETED)
        for task in serving:
            task.cancel()
        # At once: nothing may go out to a worker that can report no more.
        self._unsent += self._outbox.withdraw()
        self._reports.no_more()
        await asyncio.wait(serving)
        parting = asyncio.create_task(self._part(settling))
        await asyncio.wait((settling, parting))
        for task in (settling, *serving, parting):
            if not task.cancelled():
                self._error = self._error or task.exception()
        if self._gone.is_set() and settling.exception() is not None:
            _log.warning("reports of %s were not stored: %s", self._worker, self._error)
        self._outbox.close()

    async def _hear(self, requests: Requests) -> None:
        """Take in what the worker says, until its last message."""
        await self._greet(requests)
        with self._host.connected.joined(self._worker, self._accepts):
            while not self._said_goodbye:
                # A worker that does not read is not heard, as flow control has it.
                await self._reports.accept_more()
                await self._outbox.accepts_confirmations()
                request = await anext(requests, None)
                if request is None:
                    return
                self._take_in(request)

    async def _greet(self, requests: Requests) -> None:
        first = await anext(requests, None)
        if first is None or not first.HasField("hello"):
            raise ContractValidationError.of(Violation("message", "begin the stream with a hello"))
        self._worker = first.hello.worker
        self._accepts = frozenset(first.hello.accepts)
        held = list(first.hello.held_claim_tokens)
        # A claim that it does not name never arrived, or died with it.
        keep = self._host.ledger.come_back(self._worker, held, self._claims)
        await self._store.take_back_intents(self._worker, keep)
        if held:
            alive = await self._store.extend_intents(held, self._host.visibility_us)
            for token, is_alive in zip(held, alive, strict=True):
                if not is_alive:
                    self._claims.pop(token, None)
                    self._outbox.confirm(token, LOST)

    def _take_in(self, request: intent_pb2.TakeIntentsRequest) -> None:
        match request.WhichOneof("message"):
            case "credit":
                self._add_credit(request.credit.count)
            case "complete":
                self._reports.complete(request.complete)
            case "fail":
                self._reports.fail(request.fail)
            case "extend":
                self._reports.extend(request.extend)
            case "goodbye":
                self._said_goodbye = True
            case _:
                raise ContractValidationError.of(
                    Violation("message.hello", "only the first message is a hello")
                )

    def _add_credit(self, count: int) -> None:
        holds = self._credit + len(self._claims)
        if holds + count > MOST_HELD:
            fault = (
                f"is {count}, beside {holds} that the worker has credit for or holds; at most "
                f"{MOST_HELD} together: give credit as intents are settled"
            )
            raise ContractValidationError.of(Violation("message.credit.count", fault))
        self._credit += count
        self._credited.set()

    async def _deliver(self) -> None:
        while True:
            self._credited.clear()
            while self._credit > 0:
                async with self._outbox.room():
                    found = await self._claim_some()
                if not found:
                    await self._store.wait_intents(None, self._accepts)
            await self._credited.wait()

    async def _claim_some(self) -> bool:
        claimed = await self._claim()
        for intent in claimed:
            if self._outbox.is_full:
                self._unsent.append(intent.claim_token)
            else:
                self._hand_over(intent)
        await self._give_back()
        return bool(claimed)

    async def _claim(self) -> Sequence[ClaimedIntent]:
        portion = self._host.portion
        limit = min(self._credit, portion.rows)
        self._claiming = asyncio.ensure_future(
            self._store.claim_intents(self._worker, limit, self._host.visibility_us, self._accepts)
        )
        # Shielded: a claim made for a stream that ended meanwhile must be given back.
        claimed = await asyncio.shield(self._claiming)
        self._claiming = None
        portion.learn([len(intent.payload) for intent in claimed])
        return claimed

    def _hand_over(self, claimed: ClaimedIntent) -> None:
        response = intent_pb2.TakeIntentsResponse()
        delivery = response.delivery
        delivery.intent.ParseFromString(claimed.payload)
        delivery.claim_token = claimed.claim_token
        delivery.attempt = claimed.attempt
        delivery.traceparent = claimed.traceparent
        delivery.redrives = claimed.redrives
        delivery.visibility_timeout.FromMicroseconds(self._host.visibility_us)
        token = claimed.claim_token
        self._claims[token] = Claim.of(token, claimed.attempt, delivery.intent)
        self._credit -= 1
        self._outbox.deliver(response)

    async def _relieve(self) -> None:
        """Give back the intents that a worker does not read; another worker may read them."""
        patience = self._host.visibility_us / 3 / 1_000_000
        while True:
            await self._outbox.stalls(patience)
            unsent = self._outbox.withdraw()
            self._unsent += unsent
            self._credit += len(unsent)
            await self._give_back()
            self._credited.set()

    async def _give_back(self) -> None:
        """Give back intents that were never sent. A failure is repeated when the stream ends; the
        visibility timeout is the last resort.
        """
        if tokens := list(self._unsent):
            for token in tokens:
                self._claims.pop(token, None)
            await self._store.release_intents(tokens)
            self._unsent = [token for token in self._unsent if token not in tokens]

    async def _part(self, settling: asyncio.Task[None]) -> None:
        """Give back intents that were never sent and, after a goodbye, all claims."""
        if self._claiming is not None:
            await asyncio.wait((self._claiming,))
            # A failed claim has no tokens to give back.
            if self._claiming.exception() is None:
                self._unsent += [intent.claim_token for intent in self._claiming.result()]
        await asyncio.wait((settling,))
        if self._said_goodbye:
            self._unsent = list(dict.fromkeys([*self._claims, *self._unsent]))
        try:
            await self._give_back()
        finally:
            self._host.ledger.leave(self._worker, self._claims)


async def _leave(draining: Draining) -> None:
    await draining()
    raise NodeUnavailableError("the queue is stopping; connect again", retry_after=0.1)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
