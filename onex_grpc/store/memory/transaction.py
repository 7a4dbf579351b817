"""One operation at a time on tables in memory, each whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from onex_grpc.errors import UnavailableError
from onex_grpc.store.batcher import Outcome
from onex_grpc.store.memory.tables import Tables

if TYPE_CHECKING:
    import asyncio

    from onex_grpc.store.clock import StoreClock
    from onex_grpc.store.wakeups import Changes, Wakeups

K = TypeVar("K")
V = TypeVar("V")
R = TypeVar("R")


class Transaction:
    """What an operation works on. Rows are immutable, and are written by `put`, `remove` and
    `append` only, so that a failure can be undone.
    """

    __slots__ = ("_undo", "changes", "fence", "now_us", "tables")

    def __init__(self, tables: Tables, changes: Changes) -> None:
        self.tables: Final = tables
        self.now_us = 0
        self.fence = 0
        self.changes = changes
        self._undo: list[Callable[[], object]] = []

    def next_fence(self, above: int) -> int:
        """A fence greater than any that this store has issued, and than `above`."""
        self.fence = max(self.fence, above) + 1
        return self.fence

    def next_number(self, name: str) -> int:
        """The next of these numbers, which are never used twice."""
        number = self.tables.counters.get(name, 0) + 1
        self.put(self.tables.counters, name, number)
        return number

    def put(self, table: dict[K, V], key: K, row: V) -> None:
        """Writes a row, over the one of its key."""
        if key in table:
            before = table[key]
            self._undo.append(lambda: table.__setitem__(key, before))
        else:
            self._undo.append(lambda: table.pop(key))
        table[key] = row

    def remove(self, table: dict[K, V], key: K) -> None:
        """Removes the row of a key."""
        before = table.pop(key)
        self._undo.append(lambda: table.__setitem__(key, before))

    def append(self, rows: list[V], row: V) -> None:
        """Writes a row behind the others."""
        rows.append(row)
        self._undo.append(rows.pop)

    def keep(self) -> None:
        """Ends an operation that succeeded."""
        self._undo.clear()

    def roll_back(self) -> None:
        """Ends an operation that failed: as if it had not begun."""
        if self._undo:
            # What it noted about the queue is void; a claim too many does no harm.
            self.changes.unsure()
        while self._undo:
            self._undo.pop()()


Operation = Callable[[Transaction], object]


class MemoryRunner:
    """Runs batches on the writer thread; readers of any thread see whole batches."""

    def __init__(self, clock: StoreClock, wakeups: Wakeups) -> None:
        self._clock = clock
        self._wakeups = wakeups
        self._tables = Tables()
        self._tx = Transaction(self._tables, wakeups.begin())
        self._woken: Sequence[asyncio.Future[None]] = ()
        self._lock = threading.Lock()
        self._closed = False

    def read(self, look: Callable[[Tables], R]) -> R:
        """What a look at the tables gives, between two batches.

        Raises:
            UnavailableError: the store is closed.
        """
        with self._lock:
            if self._closed:
                raise UnavailableError("the store is closed; the process is about to end")
            return look(self._tables)

    def refuse_reads(self) -> None:
        """Ends reading, while what was accepted before is still written."""
        with self._lock:
            self._closed = True

    def run(self, operations: Sequence[Operation]) -> Sequence[Outcome]:
        """Runs the operations one after another; one that fails takes no other with it."""
        with self._lock:
            self._tx.now_us = self._clock.advance()
            self._tx.changes = self._wakeups.begin()
            outcomes = [_attempt(self._tx, operation) for operation in operations]
            self._woken = self._wakeups.settle(self._tx.changes)
        return outcomes

    def woken(self) -> Sequence[asyncio.Future[None]]:
        """The waits that the last batch ended."""
        return self._woken

    def close(self) -> Sequence[asyncio.Future[None]]:
        """Ends the waits that are open."""
        return self._wakeups.close()


def _attempt(tx: Transaction, operation: Operation) -> Outcome:
    try:
        value = operation(tx)
    except Exception as error:
        tx.roll_back()
        return Outcome(error=error)
    tx.keep()
    return Outcome(value)
