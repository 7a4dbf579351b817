"""Reads beside the writer: what a commit was acknowledged for, every later read sees."""

from __future__ import annotations

import asyncio
import queue
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, LiteralString, TypeVar

import psycopg

from onex_grpc.errors import UnavailableError
from onex_grpc.store.postgres.clock import LIFT, SELECT_TIME
from onex_grpc.store.postgres.failures import translate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onex_grpc.store.postgres.clock import ServerClock
    from onex_grpc.store.postgres.connection import Connection, Connector
    from onex_grpc.store.postgres.transaction import Row

R = TypeVar("R")

_SESSIONS: Final = 2


class Session:
    """One connection for reads, which is opened when it is needed."""

    def __init__(self, connector: Connector, clock: ServerClock) -> None:
        self._connector = connector
        self._clock = clock
        self._connection: Connection | None = None

    def row(self, statement: LiteralString, bindings: Sequence[object] = ()) -> Row | None:
        """Reads one row."""
        return self._open().execute(statement, bindings, binary=True).fetchone()

    def rows(self, statement: LiteralString, bindings: Sequence[object] = ()) -> list[Row]:
        """Reads all rows."""
        return self._open().execute(statement, bindings, binary=True).fetchall()

    def now_us(self) -> int:
        """The store's time; a step back is made up for here, too: an idle store has no batch."""
        while True:
            stored_us, offset_us, server_us = self.row(SELECT_TIME) or (0, 0, 0)
            lift = self._clock.step_seen(stored_us, offset_us, server_us)
            if not any(lift):
                return self._clock.read(offset_us, server_us)
            self._open().execute(LIFT, lift)

    def read(self, query: Callable[[Session], R]) -> R:
        """Runs a query, once more where the connection turns out to be gone.

        Raises:
            DatabaseConnectionError, StoreError: the server does not answer.
        """
        was_open = self._connection is not None
        try:
            try:
                return query(self)
            except psycopg.Error:
                if not self._is_lost() or not was_open:
                    raise
                return query(self)
        except psycopg.Error as error:
            raise translate(error) from error

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()

    def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._connector.connect()
        return self._connection

    def _is_lost(self) -> bool:
        return self._connection is None or self._connection.closed


class Reader:
    """Reads in threads of their own, since a server may take its time to answer."""

    def __init__(self, connector: Connector, clock: ServerClock) -> None:
        self._sessions: queue.SimpleQueue[Session] = queue.SimpleQueue()
        for _ in range(_SESSIONS):
            self._sessions.put(Session(connector, clock))
        self._threads = ThreadPoolExecutor(_SESSIONS, thread_name_prefix="onex-store-read")

    async def read(self, query: Callable[[Session], R]) -> R:
        """Runs a query.

        Raises:
            DatabaseConnectionError, StoreError: the server does not answer.
            UnavailableError: the store is closed.
        """
        loop = asyncio.get_running_loop()
        try:
            running = loop.run_in_executor(self._threads, self._run, query)
        except RuntimeError as error:
            raise UnavailableError("the store is closed; the process is about to end") from error
        return await running

    def close(self) -> None:
        """Ends the reads that run, then closes the connections."""
        self._threads.shutdown(wait=True)
        while not self._sessions.empty():
            self._sessions.get().close()

    def _run(self, query: Callable[[Session], R]) -> R:
        session = self._sessions.get()
        try:
            return session.read(query)
        finally:
            self._sessions.put(session)
