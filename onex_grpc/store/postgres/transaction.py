"""What the operations of a batch work on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, LiteralString, TypeVar

from onex_grpc.store.postgres.clock import SELECT_TIME
from onex_grpc.store.postgres.needs import NOTHING, Needs
from onex_grpc.store.postgres.pending import Pending
from onex_grpc.store.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from onex_grpc.store.postgres.clock import ServerClock
    from onex_grpc.store.postgres.exchange import Exchange
    from onex_grpc.store.postgres.known import Known
    from onex_grpc.store.wakeups import Changes

R_co = TypeVar("R_co", covariant=True)

# A row as PostgreSQL gives it; the statement beside it says which types its columns have.
Row = tuple[Any, ...]


_TRY_LOCK: LiteralString = (
    "SELECT pg_try_advisory_xact_lock(hashtextextended(current_schema() || %s, 3))"
)


class Transaction:
    """One transaction in a pipeline: a write is sent and not waited for, a read waits for all.

    Attributes:
        now_us: the time; it moves on where a lock was waited for.
        changes: what the batch means for those who wait.
        known: what was read for the whole batch.
        pending: what is sent at the end of the batch, or before the next statement.
        looked_ahead: the routes of which it was asked whether more is ready, and if not, when.
        all_promoted: no intent is left whose wait has ended.
        writes: how many writes were sent.
        emitted: the routes on which an intent became ready.
        tally: how the counts of the queue have changed.
    """

    __slots__ = (
        *("_clock", "_exchange", "_orders", "_shared", "all_promoted", "changes", "emitted"),
        *("known", "looked_ahead", "now_us", "pending", "tally", "writes"),
    )

    def __init__(
        self,
        exchange: Exchange,
        clock: ServerClock,
        changes: Changes,
        known: Known,
        *,
        members: int,
    ) -> None:
        self._exchange = exchange
        self._shared = members > 1
        self._orders: set[str] = set()
        self._clock = clock
        self.pending = Pending()
        self.known = known
        self.all_promoted = False
        self.looked_ahead: set[tuple[str, ...]] = set()
        self.now_us = clock.now_us
        self.changes = changes
        self.writes = 0
        self.emitted: set[str] = set()
        self.tally = Tally()

    def row(self, statement: LiteralString, bindings: Sequence[object] = ()) -> Row | None:
        """Reads one row."""
        self.flush()
        return self._exchange.execute(statement, bindings).fetchone()

    def rows(self, statement: LiteralString, bindings: Sequence[object] = ()) -> list[Row]:
        """Reads all rows."""
        self.flush()
        return self._exchange.execute(statement, bindings).fetchall()

    def write(self, statement: LiteralString, bindings: Sequence[object] = ()) -> None:
        """Sends a write; where it fails, a later statement or the commit does."""
        self.flush()
        self.writes += 1
        self._exchange.execute(statement, bindings)

    def later(self) -> Pending:
        """For rows that are written with those of the whole batch, at its end or before the next
        statement.
        """
        self.writes += 1
        return self.pending

    def flush(self) -> None:
        """Sends what is pending."""
        self.pending.send(self._exchange)

    def write_rows(self, statement: LiteralString, bindings: Sequence[object] = ()) -> list[Row]:
        """Writes, and waits for a row of each that was written."""
        rows = self.rows(statement, bindings)
        self.writes += len(rows)
        return rows

    def lock_row(self, statement: LiteralString, bindings: Sequence[object]) -> Row | None:
        """Reads one row FOR UPDATE, and takes the time after the wait for it."""
        self.flush()
        locked = self._exchange.execute(statement, bindings)
        timed = self._exchange.execute(SELECT_TIME)
        row = locked.fetchone()
        time = timed.fetchone()
        if time is not None:
            self.now_us = max(self.now_us, self._clock.read(time[1], time[2]))
        return row

    def lock(self, name: str) -> None:
        """Waits until no other transaction holds this name, and holds it until the commit is
        visible; what is read later sees what the others wrote.
        """
        self.flush()
        self._exchange.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || %s, 3))",
            (f"\n{name}",),
        )

    def try_lock(self, name: str) -> bool:
        """As `lock`, but says whether it could be had at once."""
        return self.row(_TRY_LOCK, (f"\n{name}",)) == (True,)

    def lock_orders(self, order_keys: Iterable[str]) -> None:
        """Locks the queues behind order keys: who adds to one, and who finishes its first intent,
        must see each other, or what was added would stay blocked for ever.

        Raises:
            AgainError: another transaction is at one, and waiting for it could be a circle.
        """
        for key in sorted({key for key in order_keys if key} - self._orders):
            name = f"order\n{key}"
            # Waits in one order never form a circle; an operation alone locks all its own at once.
            if not self._shared or key > max(self._orders, default=""):
                self.lock(name)
            elif not self.try_lock(name):
                raise AgainError
            self._orders.add(key)

    def next_fence(self, above: int) -> int:
        """A fence greater than any that this store has issued, and than `above`."""
        while self.known.fences:
            fence = self.known.fences.popleft()
            if fence > above:
                return fence
        fence = self._next_fence()
        if fence <= above:
            self.lock("fence")
            self.write("SELECT setval('fence', greatest(nextval('fence'), %s))", (above,))
            fence = self._next_fence()
        return fence

    def watch(self, topic: str) -> None:
        """Asks the other processes to tell of a topic."""
        self.changes.watched.add(topic)
        self.writes += 1

    def emit(self, route: str) -> None:
        """Notes that a claim may find an intent of a route."""
        self.emitted.add(route)
        self.changes.emitted(route)

    def _next_fence(self) -> int:
        row = self.write_rows("SELECT nextval('fence')")
        fence: int = row[0][0]
        return fence


@dataclass(frozen=True, slots=True)
class Operation(Generic[R_co]):
    """An operation of a batch.

    A batch runs in the order of `key`, what it locks first, so that two processes do not wait for
    each other. What it `needs` is read before, with what the others need.
    """

    key: str
    run: Callable[[Transaction], R_co | Later[R_co]]
    needs: Needs = NOTHING

    def __call__(self, tx: Transaction) -> R_co | Later[R_co]:
        """Runs it."""
        return self.run(tx)


@dataclass(frozen=True, slots=True)
class Later(Generic[R_co]):
    """A value that is there once all statements of the batch have been answered."""

    value: Callable[[], R_co]


class AgainError(Exception):
    """Raised when another process was in the way: a new transaction sees what it has written."""
