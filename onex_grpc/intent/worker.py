"""Takes intents from one queue, executes them and reports."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from onex.v1 import intent_pb2, intent_pb2_grpc
from onex_grpc.context import CallContext, enter_call
from onex_grpc.contract.intent import destination
from onex_grpc.errors import OnexError, OutcomeUnknownError, ResourceExhaustedError
from onex_grpc.intent.backoff import Backoff
from onex_grpc.intent.redrive import enter_redrive
from onex_grpc.intent.work import Work
from onex_grpc.rpc.contact import Contact
from onex_grpc.rpc.passage import is_asked_for
from onex_grpc.telemetry import NO_TELEMETRY, SpanKind, Telemetry, names

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import grpc

    from onex_grpc.rpc.client import Mesh

    Execute = Callable[[intent_pb2.ModelIntent], Awaitable[object]]

_log = logging.getLogger(__name__)
_RECONNECT: Final = Backoff(initial=0.05, longest=2.0)
_SETTLING: Final = 2.0


class IntentWorker:
    """Holds a stream to one queue open and executes what it delivers.

    When the stream breaks, running intents go on; the worker connects again, names the claims that
    it holds and repeats the reports that were not confirmed.

    Args:
        mesh: by which the queue is reached.
        queue: the node whose intents are taken, as the mesh knows it: `kind` or `kind/name`.
        worker: this node as `kind/name`; a queue knows its workers by it.
        execute: does one intent; an OnexError that may pass is repeated by the queue.
        accepts: the routes of the intents that it gets; all where there are none.
        telemetry: records a span for each attempt.
        in_flight: how many intents are executed at the same time.
    """

    def __init__(
        self,
        *,
        mesh: Mesh,
        queue: str,
        worker: str,
        execute: Execute,
        accepts: Sequence[str] = (),
        telemetry: Telemetry = NO_TELEMETRY,
        in_flight: int = 32,
    ) -> None:
        self._stub = mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, queue)
        self._queue = queue
        self._worker = worker
        self._execute = execute
        self._accepts = accepts
        self._telemetry = telemetry
        self._in_flight = in_flight
        self._held: dict[str, Work] = {}
        self._freed = 0
        self._out: asyncio.Queue[intent_pb2.TakeIntentsRequest] | None = None
        self._idle = asyncio.Event()
        self._stopping = False
        self._reachable = True
        self._contact = Contact(f"queue {queue}")
        self._failures = 0
        self._running: asyncio.Task[None] | None = None

    @property
    def queue(self) -> str:
        """The node whose intents are taken."""
        return self._queue

    @property
    def reachable(self) -> bool:
        """Whether the queue answered when it was last tried."""
        return self._reachable

    def start(self) -> None:
        """Begins to take intents, as soon as the queue can be reached."""
        self._running = asyncio.create_task(self._run(), name=f"intents of {self._queue}")

    async def stop(self, grace: float) -> None:
        """Lets running intents finish for `grace` seconds, and gives back the rest."""
        self._stopping = True
        running = [work.task for work in self._held.values() if work.task is not None]
        if running:
            _, late = await asyncio.wait(running, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        try:
            async with asyncio.timeout(_SETTLING):
                await self._say_goodbye()
        except TimeoutError:
            _log.warning("queue %s did not confirm the last reports", self._queue)
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    # The stream

    async def _run(self) -> None:
        while True:
            try:
                await self._hold_stream()
                if self._stopping:
                    return
                self._contact.broke("the stream ended")
            except OnexError as error:
                self._contact.failed(error)
                if isinstance(error, ResourceExhaustedError):
                    # A report that no stream can carry would come again on every one.
                    for work in self._held.values():
                        work.shorten()
            except Exception:
                # Intents that nobody takes any more would be worse than a fault that comes again.
                _log.exception("taking intents of %s failed", self._queue)
                self._contact.broke("the stream failed")
            self._failures += 1
            self._reachable = False
            await asyncio.sleep(_RECONNECT.wait(self._failures))

    async def _hold_stream(self) -> None:
        call = self._stub.TakeIntents()
        out: asyncio.Queue[intent_pb2.TakeIntentsRequest] = asyncio.Queue()
        self._greet(out)
        self._out = out
        sending = asyncio.create_task(_send(call, out))
        # A worker that only hears would hold its intents for ever.
        sending.add_done_callback(lambda _: call.cancel())
        try:
            async for response in call:
                self._hear(response)
        finally:
            self._out = None
            sending.cancel()
            call.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    def _greet(self, out: asyncio.Queue[intent_pb2.TakeIntentsRequest]) -> None:
        hello = intent_pb2.TakeIntentsHello(
            worker=self._worker, held_claim_tokens=self._held, accepts=self._accepts
        )
        out.put_nowait(intent_pb2.TakeIntentsRequest(hello=hello))
        for work in self._held.values():
            if work.report is not None:
                out.put_nowait(work.report)
        self._freed = 0
        free = self._in_flight - len(self._held)
        if free > 0 and not self._stopping:
            out.put_nowait(_credit(free))

    def _hear(self, response: intent_pb2.TakeIntentsResponse) -> None:
        self._failures = 0
        self._reachable = True
        self._contact.answered()
        if response.HasField("delivery"):
            self._take(response.delivery)
        else:
            self._confirm(response.settled)

    def _say(self, message: intent_pb2.TakeIntentsRequest) -> None:
        """Sends while there is a stream; what matters is said again on the next one."""
        if self._out is not None:
            self._out.put_nowait(message)

    async def _say_goodbye(self) -> None:
        if self._out is None or self._running is None:
            return
        while any(work.report is not None for work in self._held.values()):
            self._idle.clear()
            await self._idle.wait()
        goodbye = intent_pb2.TakeIntentsGoodbye()
        self._say(intent_pb2.TakeIntentsRequest(goodbye=goodbye))
        await asyncio.wait((self._running,))

    # An intent

    def _take(self, delivery: intent_pb2.IntentDelivery) -> None:
        if self._stopping:
            # The goodbye gives it back.
            return
        work = Work(delivery)
        self._held[work.token] = work
        self._extend_later(work)
        work.task = asyncio.create_task(self._process(work))

    async def _process(self, work: Work) -> None:
        try:
            await self._execute_traced(work.delivery)
        except OnexError as error:
            self._report(work, work.failed(error, self._worker))
        except asyncio.CancelledError as cancelled:
            if cancelled.args and isinstance(unknown := cancelled.args[0], OutcomeUnknownError):
                self._report(work, work.failed(unknown, self._worker))
            elif not is_asked_for():
                # What executes it cancelled itself; unreported, it would keep its place for ever.
                self._report_bug(work)
            if is_asked_for():
                raise
        except Exception:
            self._report_bug(work)
        else:
            self._report(work, work.completed())
        finally:
            work.stop_extending()

    async def _execute_traced(self, delivery: intent_pb2.IntentDelivery) -> None:
        intent = delivery.intent
        enter_call(
            CallContext(correlation_id=intent.correlation_id, traceparent=delivery.traceparent)
        )
        enter_redrive(delivery.redrives)
        span = self._telemetry.start_span(
            f"process {destination(intent)}",
            SpanKind.CONSUMER,
            parent=delivery.traceparent,
            correlation_id=intent.correlation_id,
            # Linked as well, since attempts may be many and late (messaging spans, "links").
            links=(delivery.traceparent,) if delivery.traceparent else (),
            attributes={
                names.MESSAGING_SYSTEM: "onex",
                names.MESSAGING_OPERATION: "process",
                names.MESSAGING_OPERATION_TYPE: "process",
                names.MESSAGING_DESTINATION: destination(intent),
                names.MESSAGING_MESSAGE_ID: intent.intent_id,
                names.INTENT_ID: intent.intent_id,
                names.ATTEMPT: delivery.attempt,
            },
        )
        with span:
            await self._execute(intent)

    def _report_bug(self, work: Work) -> None:
        _log.exception("executing an intent for %s failed", destination(work.delivery.intent))
        failure = OnexError("the effect node failed; see its log")
        self._report(work, work.failed(failure, self._worker))

    def _report(self, work: Work, report: intent_pb2.TakeIntentsRequest) -> None:
        work.stop_extending()
        if work.lost:
            self._drop(work.token)
            return
        work.report = report
        self._say(report)

    def _extend_later(self, work: Work) -> None:
        # At a third, so that two reports may be lost before the queue gives the claim away.
        delay = work.delivery.visibility_timeout.ToTimedelta().total_seconds() / 3
        loop = asyncio.get_running_loop()
        work.extension = loop.call_later(delay, self._extend, work)

    def _extend(self, work: Work) -> None:
        self._say(work.extend())
        self._extend_later(work)

    def _confirm(self, settled: intent_pb2.IntentSettled) -> None:
        work = self._held.get(settled.claim_token)
        if work is None or settled.status == intent_pb2.INTENT_STATUS_IN_FLIGHT:
            return
        if work.report is not None:
            self._drop(work.token)
            return
        # An extension came too late: another delivery may be under way, and nothing is reported.
        work.lost = True
        work.stop_extending()

    def _drop(self, token: str) -> None:
        del self._held[token]
        self._idle.set()
        self._freed += 1
        # In portions, since each message costs as much as an intent's own.
        if not self._stopping and (self._freed * 4 >= self._in_flight or not self._held):
            self._say(_credit(self._freed))
            self._freed = 0


def _credit(count: int) -> intent_pb2.TakeIntentsRequest:
    return intent_pb2.TakeIntentsRequest(credit=intent_pb2.TakeIntentsCredit(count=count))


async def _send(
    call: grpc.aio.StreamStreamCall[intent_pb2.TakeIntentsRequest, intent_pb2.TakeIntentsResponse],
    out: asyncio.Queue[intent_pb2.TakeIntentsRequest],
) -> None:
    while True:
        await call.write(await out.get())
