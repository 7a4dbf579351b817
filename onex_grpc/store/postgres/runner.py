"""Runs batches on the connection that writes: one transaction in one pipeline for all."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import psycopg

from onex_grpc.errors import OnexError
from onex_grpc.store.batcher import Outcome
from onex_grpc.store.postgres.clock import KEEP, LIFT
from onex_grpc.store.postgres.exchange import Exchange
from onex_grpc.store.postgres.failures import is_race, translate, unknown_outcome
from onex_grpc.store.postgres.known import read_known
from onex_grpc.store.postgres.needs import merged
from onex_grpc.store.postgres.notices import NOTIFY, Announcer
from onex_grpc.store.postgres.transaction import AgainError, Later, Operation, Transaction

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from onex_grpc.store.postgres.clock import ServerClock
    from onex_grpc.store.postgres.connection import Connection, Connector
    from onex_grpc.store.wakeups import Wakeups

# Others can only be in the way so often: each time, one of them has got on.
_TRIES: Final = 8
_RECONNECT_SECONDS: Final = 0.25
# Two writers with one slot wait for each other's commits; more slots are more rows to add up.
_TALLY_SLOTS: Final = 16
_COUNT: Final = (
    "INSERT INTO tally (slot, state, priority, route, count) SELECT %s, unnest(%s::bigint[]), "
    "unnest(%s::bigint[]), unnest(%s::text[]), unnest(%s::bigint[]) "
    "ON CONFLICT (slot, state, priority, route) DO UPDATE "
    "SET count = tally.count + excluded.count"
)


class _SpoiledError(Exception):
    """A member failed after it had written, which none should: the batch is void."""


class _LostError(Exception):
    """The connection is gone, and nothing of the batch was written."""


class PostgresRunner:
    """Runs batches; used by the writer thread only, but for `backend_pid`."""

    def __init__(
        self, connection: Connection, connector: Connector, clock: ServerClock, wakeups: Wakeups
    ) -> None:
        """Takes the connection over."""
        self._exchange = Exchange(connection)
        self._connector = connector
        self._clock = clock
        self._wakeups = wakeups
        self._announcer = Announcer(wakeups.is_watched)
        self._woken: list[asyncio.Future[None]] = []
        self._failure: OnexError | None = None
        self._next_try = 0.0
        self._committing = False
        self.backend_pid = self._exchange.backend_pid

    def run(self, operations: Sequence[Callable[[Transaction], object]]) -> Sequence[Outcome]:
        """Runs all operations in one transaction; one that fails takes no other with it."""
        self._woken = []
        order = sorted(range(len(operations)), key=lambda index: _key(operations[index]))
        ordered = [operations[index] for index in order]
        outcomes = self._together(ordered)
        found = dict(zip(order, outcomes, strict=True))
        return [found[index] for index in range(len(operations))]

    def woken(self) -> Sequence[asyncio.Future[None]]:
        """The waits that the last batch ended."""
        return self._woken

    def close(self) -> Sequence[asyncio.Future[None]]:
        """Closes the connection, and with it gives the owner's lock up."""
        self._exchange.close()
        return self._wakeups.close()

    def _together(self, operations: Sequence[Callable[[Transaction], object]]) -> list[Outcome]:
        if len(operations) == 1:
            return [self._alone(operations[0])]
        try:
            return self._on_a_connection(operations)
        except (_SpoiledError, AgainError):
            return self._by_halves(operations)
        except OnexError as error:
            return [Outcome(error=error) for _ in operations]
        except Exception as error:
            if self._committing and self._exchange.closed:
                return [self._unknown(error) for _ in operations]
            # What the server refuses of one is not the others' fault.
            return self._by_halves(operations)

    def _by_halves(self, operations: Sequence[Callable[[Transaction], object]]) -> list[Outcome]:
        """Runs a void batch again; the one that made it so ends up alone, most others together."""
        middle = len(operations) // 2
        return [*self._together(operations[:middle]), *self._together(operations[middle:])]

    def _alone(self, operation: Callable[[Transaction], object]) -> Outcome:
        failure: Exception | None = None
        for _ in range(_TRIES):
            try:
                return self._on_a_connection([operation])[0]
            except OnexError as error:
                failure = error
                break
            except Exception as error:
                if self._committing and self._exchange.closed:
                    return self._unknown(error)
                failure = translate(error) if isinstance(error, psycopg.Error) else error
                if not is_race(error):
                    break
        return Outcome(error=failure)

    def _unknown(self, error: Exception) -> Outcome:
        # If it was written, nobody else will say so to those who wait in this process.
        self._woken.extend(self._wakeups.told_all())
        return Outcome(error=unknown_outcome(error))

    def _on_a_connection(
        self, operations: Sequence[Callable[[Transaction], object]]
    ) -> list[Outcome]:
        """Runs a transaction, anew where a connection that had been idle turns out to be gone."""
        self._connect()
        try:
            return self._transact(operations)
        except _LostError:
            self._connect()
            try:
                return self._transact(operations)
            except _LostError as error:
                cause = error.__cause__
                raise (translate(cause) if isinstance(cause, psycopg.Error) else error) from error

    def _transact(self, operations: Sequence[Callable[[Transaction], object]]) -> list[Outcome]:
        self._committing = False
        try:
            tx = self._begin(operations)
            outcomes = [_attempt(tx, operation, len(operations)) for operation in operations]
            tx.flush()
            outcomes = [_awaited(outcome) for outcome in outcomes]
            self._committing = True
            self._finish(tx)
        except psycopg.Error as error:
            self._roll_back()
            if self._exchange.closed and not self._committing:
                raise _LostError from error
            raise
        except _FailedError as failed:
            self._roll_back()
            return [Outcome(error=failed.error)]
        except BaseException:
            self._roll_back()
            raise
        self._woken.extend(self._wakeups.settle(tx.changes))
        return outcomes

    def _begin(self, operations: Sequence[Callable[[Transaction], object]]) -> Transaction:
        exchange = self._exchange
        changes = self._wakeups.begin()
        needs = merged(each.needs for each in operations if isinstance(each, Operation))
        while True:
            exchange.execute("BEGIN")
            known, time_row = read_known(exchange, needs, self._clock.estimate())
            lift = self._clock.step_back(*time_row)
            if not any(lift):
                tx = Transaction(exchange, self._clock, changes, known, members=len(operations))
                tx.lock_orders(needs.order_keys)
                return tx
            exchange.execute(LIFT, lift)
            exchange.execute("COMMIT")

    def _finish(self, tx: Transaction) -> None:
        tx.flush()
        exchange = self._exchange
        if counted := tx.tally.rows():
            columns = [list(column) for column in zip(*counted, strict=True)]
            exchange.execute(_COUNT, (exchange.backend_pid % _TALLY_SLOTS, *columns))
        keep = self._clock.keep()
        if tx.writes and keep is not None:
            # The last statement, since all writers want this row now and then.
            exchange.execute(KEEP, keep)
        if tx.writes:
            channel = self._connector.channel
            for payload in self._announcer.payloads(tx):
                exchange.execute(NOTIFY, (channel, payload, channel))
        exchange.commit()

    def _roll_back(self) -> None:
        self._wakeups.undo()
        self._announcer.forget()
        if self._exchange.closed:
            return
        try:
            self._exchange.roll_back()
        except psycopg.Error:
            self._exchange.close()

    def _connect(self) -> None:
        """Makes sure of a connection.

        Raises:
            DatabaseConnectionError: the server cannot be reached.
            StoreInUseError: another process has taken the store meanwhile.
        """
        if not self._exchange.closed:
            return
        if self._failure is not None and time.monotonic() < self._next_try:
            raise self._failure
        try:
            self._exchange = Exchange(self._connector.connect_writer())
        except psycopg.Error as error:
            self._failure = translate(error)
        except OnexError as error:
            self._failure = error
        else:
            self._failure = None
            self.backend_pid = self._exchange.backend_pid
            return
        self._next_try = time.monotonic() + _RECONNECT_SECONDS
        raise self._failure


class _FailedError(Exception):
    """The only member failed after it had written."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _attempt(tx: Transaction, operation: Callable[[Transaction], object], members: int) -> Outcome:
    before = tx.writes
    try:
        return Outcome(operation(tx))
    except (psycopg.Error, AgainError):
        raise
    except Exception as error:
        if tx.writes == before:
            return Outcome(error=error)
        if members > 1:
            raise _SpoiledError from error
        raise _FailedError(error) from error


def _awaited(outcome: Outcome) -> Outcome:
    return Outcome(outcome.value.value()) if isinstance(outcome.value, Later) else outcome


def _key(operation: Callable[[Transaction], object]) -> str:
    return operation.key if isinstance(operation, Operation) else ""
