"""Runs what has gathered for one SQLite file in one transaction.

A commit with FULL durability costs a flush of the disk, which many writers share here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from onex_grpc.store.batcher import Outcome

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence


class SqliteRunner:
    """A connection as the batcher's writer thread uses it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def run(self, operations: Sequence[Callable[[apsw.Connection], object]]) -> Sequence[Outcome]:
        """Runs all operations in one transaction; one that fails is rolled back alone."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes = [self._run_alone(operation) for operation in operations]
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            return [Outcome(error=error)] * len(operations)
        return outcomes

    def woken(self) -> Sequence[asyncio.Future[None]]:
        """Nobody waits for changes of a target."""
        return ()

    def close(self) -> Sequence[asyncio.Future[None]]:
        """Closes the connection."""
        self._connection.close()
        return ()

    def _run_alone(self, operation: Callable[[apsw.Connection], object]) -> Outcome:
        self._connection.execute("SAVEPOINT operation")
        try:
            outcome = Outcome(operation(self._connection))
        except Exception as error:
            outcome = Outcome(error=error)
            # After a full disk or an I/O error the whole transaction is gone: COMMIT fails for all.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO operation")
        if self._connection.in_transaction:
            self._connection.execute("RELEASE operation")
        return outcome
