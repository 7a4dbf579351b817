"""One transaction for a whole batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import apsw

from onex_grpc.store.batcher import Outcome
from onex_grpc.store.sqlite.failures import translate
from onex_grpc.store.tally import Tally

if TYPE_CHECKING:
    import asyncio

    from onex_grpc.store.clock import StoreClock
    from onex_grpc.store.wakeups import Changes, Wakeups

# The stored time may lag this much behind; opening the store adds it, so that no time is ever used
# twice.
CLOCK_LAG_US: Final = 100_000

_COUNT: Final = (
    "INSERT INTO tally (state, priority, route, count) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (state, priority, route) DO UPDATE SET count = count + excluded.count"
)

# A row as SQLite gives it; the statement beside it says which types its columns have.
Row = tuple[Any, ...]


class Transaction:
    """What the operations of a batch work on: the connection, one time for all, and what they
    change for waiters.
    """

    __slots__ = (
        "changes", "connection", "execute", "executemany", "fence", "now_us", "tally", "undone",
    )  # fmt: skip

    def __init__(self, connection: apsw.Connection, fence: int, changes: Changes) -> None:
        self.connection = connection
        # One cursor saves making one per statement; each operation reads its rows before the next
        # statement.
        cursor = connection.cursor()
        self.execute = cursor.execute
        self.executemany = cursor.executemany
        self.now_us = 0
        self.fence = fence
        self.changes = changes
        self.tally = Tally()
        # Changes of rows, as SQLite counts them, that undid one another.
        self.undone = 0

    def next_fence(self, above: int) -> int:
        """A fence greater than any that this store has issued, and than `above`."""
        self.fence = max(self.fence, above) + 1
        return self.fence


Operation = Callable[[Transaction], object]


class SqliteRunner:
    """Runs batches on the writer's connection; used by the writer thread only."""

    def __init__(
        self,
        connection: apsw.Connection,
        clock: StoreClock,
        wakeups: Wakeups,
        release: Callable[[], None],
    ) -> None:
        """Takes the connection over; `release` is called after it was closed."""
        self._connection = connection
        self._clock = clock
        self._wakeups = wakeups
        self._release = release
        self._woken: Sequence[asyncio.Future[None]] = ()
        stored: Row = connection.execute("SELECT clock_us, fence FROM meta").fetchone() or (0, 0)
        self._stored_us: int = stored[0]
        self._stored_fence: int = stored[1]
        self._tx = Transaction(connection, self._stored_fence, wakeups.begin())

    def run(self, operations: Sequence[Operation]) -> Sequence[Outcome]:
        """Runs all operations in one transaction; one that fails takes no other with it."""
        self._tx.now_us = self._clock.advance()
        self._woken = ()
        try:
            outcomes = self._run_together(operations)
            if outcomes is None:
                self._roll_back()
                outcomes = self._run_apart(operations)
        except apsw.Error as error:
            self._roll_back()
            return [Outcome(error=translate(error)) for _ in operations]
        self._woken = self._wakeups.settle(self._tx.changes)
        return outcomes

    def woken(self) -> Sequence[asyncio.Future[None]]:
        """The waits that the last batch ended."""
        return self._woken

    def close(self) -> Sequence[asyncio.Future[None]]:
        """Closes the connection, which writes the log back into the file; gives the lock up."""
        self._connection.close()
        self._release()
        return self._wakeups.close()

    def _run_together(self, operations: Sequence[Operation]) -> Sequence[Outcome] | None:
        """Runs without savepoints, which would cost a fifth of the writer's time.

        An operation that fails before it wrote anything, as nearly all failures do, leaves nothing
        to undo. None, and nothing committed, where one had already written.
        """
        before = self._begin()
        outcomes: list[Outcome] = []
        for operation in operations:
            written, undone = self._connection.total_changes(), self._tx.undone
            outcome = _attempt(self._tx, operation)
            if outcome.error is not None and (
                self._connection.total_changes() - written != self._tx.undone - undone
            ):
                return None
            outcomes.append(outcome)
        self._commit(before)
        return outcomes

    def _run_apart(self, operations: Sequence[Operation]) -> Sequence[Outcome]:
        """Runs each operation in a savepoint of its own."""
        before = self._begin()
        outcomes = [_isolated(self._tx, operation) for operation in operations]
        self._commit(before)
        return outcomes

    def _begin(self) -> int:
        self._tx.changes = self._wakeups.begin()
        self._tx.tally = Tally()
        self._tx.execute("BEGIN IMMEDIATE")
        return self._connection.total_changes()

    def _commit(self, before: int) -> None:
        tx = self._tx
        if self._connection.total_changes() != before and (
            tx.fence != self._stored_fence or tx.now_us - self._stored_us >= CLOCK_LAG_US
        ):
            tx.execute("UPDATE meta SET clock_us = ?, fence = ?", (tx.now_us, tx.fence))
            self._stored_fence, self._stored_us = tx.fence, tx.now_us
        if tx.tally.changed:
            tx.executemany(_COUNT, tx.tally.rows())
        tx.execute("COMMIT")

    def _roll_back(self) -> None:
        self._wakeups.undo()
        # What was last written here may be undone: write it again with the next batch.
        self._stored_fence, self._stored_us = -1, 0
        if self._connection.in_transaction:
            self._tx.execute("ROLLBACK")


def _attempt(tx: Transaction, operation: Operation) -> Outcome:
    try:
        return Outcome(operation(tx))
    except apsw.Error as error:
        if not tx.connection.in_transaction:
            raise
        return Outcome(error=translate(error))
    except Exception as error:
        return Outcome(error=error)


def _isolated(tx: Transaction, operation: Operation) -> Outcome:
    tx.execute("SAVEPOINT member")
    counted = dict(tx.tally.changed)
    outcome = _attempt(tx, operation)
    if outcome.error is not None:
        tx.execute("ROLLBACK TO member")
        # What the failed one noted about the queue is void; a claim too many does no harm.
        tx.changes.unsure()
        tx.tally.changed = counted
    tx.execute("RELEASE member")
    return outcome
