"""Natural group commit: what waits while one transaction is made durable shares the next one."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final, Generic, NamedTuple, Protocol, TypeVar, cast

from onex_grpc.errors import UnavailableError

_log: Final = logging.getLogger(__name__)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")

OnBatch = Callable[[int, float], None]
"""Hears of each batch, on the writer thread: how many operations, and their seconds including the
commit.
"""

MAX_BATCH: Final = 256


class Outcome(NamedTuple):
    """What became of one operation: its value, or its error."""

    value: object = None
    error: Exception | None = None


class BatchRunner(Protocol[T_co]):
    """A database as the batcher sees it. All methods are called on the writer thread only."""

    def run(self, operations: Sequence[Callable[[T_co], object]]) -> Sequence[Outcome]:
        """Runs all operations in one transaction and makes it durable; one that fails takes no
        other with it.
        """
        ...

    def woken(self) -> Sequence[asyncio.Future[None]]:
        """The waits that the last batch ended."""
        ...

    def close(self) -> Sequence[asyncio.Future[None]]:
        """Closes the database; returns the waits that are still open."""
        ...


@dataclass(slots=True, eq=False)
class _Member(Generic[T]):
    operation: Callable[[T], object]
    future: asyncio.Future[object] | None
    first: bool


class Batcher(Generic[T]):
    """One writer thread and its queue. Operations may come from any event loop and are answered in
    it.
    """

    def __init__(self, runner: BatchRunner[T], *, on_batch: OnBatch | None = None) -> None:
        self._runner = runner
        self._on_batch = on_batch
        self._queue: SimpleQueue[_Member[T] | None] = SimpleQueue()
        self._ahead: deque[_Member[T]] = deque()
        self._behind: deque[_Member[T]] = deque()
        self._stopping = False
        self._accepting = threading.Lock()
        self._closed = False
        # A process that forgets to close must still be able to end; nothing unacknowledged is
        # promised to anybody.
        self._thread = threading.Thread(target=self._work, name="onex-store", daemon=True)
        self._thread.start()

    def submit(self, operation: Callable[[T], R]) -> asyncio.Future[R]:
        """Queues an operation; the future ends once it is durable, or with its error."""
        return self._enqueue(operation, first=False)

    def submit_first(self, operation: Callable[[T], R]) -> asyncio.Future[R]:
        """Queues an operation that runs before all others that wait: a renewal must not expire
        behind bulk work.
        """
        return self._enqueue(operation, first=True)

    def post_first(self, operation: Callable[[T], object]) -> None:
        """Queues an operation that nobody waits for, as `submit_first`; for any thread."""
        with self._accepting:
            if not self._closed:
                self._queue.put(_Member(operation, None, first=True))

    async def close(self) -> None:
        """Finishes what was accepted, then ends the thread and closes the database."""
        with self._accepting:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _enqueue(self, operation: Callable[[T], R], *, first: bool) -> asyncio.Future[R]:
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        member = _Member(operation, cast("asyncio.Future[object]", future), first)
        with self._accepting:
            if self._closed:
                raise UnavailableError("the store is closed; the process is about to end")
            self._queue.put(member)
        return future

    def _work(self) -> None:
        while True:
            self._drain()
            batch = self._next_batch()
            if batch:
                self._run(batch)
            elif self._stopping:
                break
        _deliver((future, _closed_outcome()) for future in self._runner.close())

    def _drain(self) -> None:
        if not self._ahead and not self._behind and not self._stopping:
            self._sort_in(self._queue.get())
        while not self._queue.empty():
            self._sort_in(self._queue.get())

    def _sort_in(self, member: _Member[T] | None) -> None:
        if member is None:
            self._stopping = True
        elif member.first:
            self._ahead.append(member)
        else:
            self._behind.append(member)

    def _next_batch(self) -> list[_Member[T]]:
        batch: list[_Member[T]] = []
        for waiting in (self._ahead, self._behind):
            while waiting and len(batch) < MAX_BATCH:
                member = waiting.popleft()
                if member.future is None or not member.future.cancelled():
                    batch.append(member)
        return batch

    def _run(self, batch: Sequence[_Member[T]]) -> None:
        started = time.perf_counter()
        try:
            outcomes = self._runner.run([member.operation for member in batch])
        except Exception as error:
            # The thread must outlive whatever happens: an operation without an answer would wait
            # for ever.
            _log.exception("a batch of %d operations failed", len(batch))
            outcomes = [Outcome(error=error)] * len(batch)
        settled = [
            (member.future, outcome)
            for member, outcome in zip(batch, outcomes, strict=True)
            if member.future is not None
        ]
        _deliver(
            [*settled, *((cast("asyncio.Future[object]", f), _DONE) for f in self._runner.woken())]
        )
        if self._on_batch is not None:
            try:
                self._on_batch(len(batch), time.perf_counter() - started)
            except Exception:
                _log.exception("the store's on_batch hook failed")


_DONE: Final = Outcome()


def wake(waits: Sequence[asyncio.Future[None]]) -> None:
    """Ends waits, each in its own event loop; for any thread."""
    _deliver((cast("asyncio.Future[object]", waiting), _DONE) for waiting in waits)


def _closed_outcome() -> Outcome:
    return Outcome(error=UnavailableError("the store was closed while this waited"))


def _deliver(
    settled: Iterable[tuple[asyncio.Future[object] | asyncio.Future[None], Outcome]],
) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[object], Outcome]]] = {}
    for future, outcome in settled:
        pair = (cast("asyncio.Future[object]", future), outcome)
        by_loop.setdefault(future.get_loop(), []).append(pair)
    for loop, pairs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, pairs)
        except RuntimeError:
            _log.debug("%d outcomes dropped: their event loop is closed", len(pairs))


def _settle(pairs: Sequence[tuple[asyncio.Future[object], Outcome]]) -> None:
    for future, outcome in pairs:
        if future.done():
            continue
        if outcome.error is None:
            future.set_result(outcome.value)
        else:
            future.set_exception(outcome.error)
