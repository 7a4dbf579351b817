"""Hears what other processes of the same store have committed, so that nobody needs to poll."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from onex_grpc.errors import OnexError
from onex_grpc.store.batcher import wake
from onex_grpc.store.postgres.notices import COMPANY, FIRST, PRESENT, TELL_ALL, Notice

if TYPE_CHECKING:
    from collections.abc import Callable

    from onex_grpc.store.postgres.connection import Connection, Connector
    from onex_grpc.store.wakeups import Wakeups

_log: Final = logging.getLogger(__name__)

_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 5.0


class Listener:
    """A thread with a connection of its own that sleeps until something was told.

    When its connection is lost it makes a new one, and then wakes all who wait, in all processes:
    what was told meanwhile is not told again, and what this process had to tell was kept back where
    it was the only one in company.
    """

    def __init__(self, connector: Connector, wakeups: Wakeups, own_pid: Callable[[], int]) -> None:
        """Begins to listen; what is heard is handed on after `start`.

        Args:
            connector: makes the connections.
            wakeups: who waits.
            own_pid: the server's process for this store's writer, whose notices are known.

        Raises:
            psycopg.Error: the server cannot be reached.
        """
        self._connector = connector
        self._wakeups = wakeups
        self._own_pid = own_pid
        self._stop_read, self._stop_write = socket.socketpair()
        try:
            self._connection = self._listen()
        except BaseException:
            self._stop_read.close()
            self._stop_write.close()
            raise
        self._thread: threading.Thread | None = None

    def start(self, on_return: Callable[[], None]) -> None:
        """Hands on what is heard, and calls `on_return` each time a lost server answers again."""
        self._thread = threading.Thread(
            target=self._work, args=(on_return,), name="onex-store-listen", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and closes its connection; a second call does nothing."""
        if self._stop_write.fileno() < 0:
            return
        self._stop_write.close()
        if self._thread is not None:
            self._thread.join()

    def _work(self, on_return: Callable[[], None]) -> None:
        try:
            while self._hear() and self._reconnect():
                on_return()
                wake(self._wakeups.told_all())
        finally:
            self._connection.close()
            self._stop_read.close()

    def _hear(self) -> bool:
        """Hands on what is told until the connection is lost (True) or the store closes."""
        pgconn = self._connection.pgconn
        try:
            while True:
                while (told := pgconn.notifies()) is not None:
                    if told.be_pid != self._own_pid():
                        self._hand_on(told.extra.decode("utf-8", "replace"))
                if self._stopped(None, pgconn.socket):
                    return False
                pgconn.consume_input()
        except psycopg.Error as error:
            _log.warning("the store's PostgreSQL is gone, waiting for it: %s", error)
            self._connection.close()
            return True

    def _hand_on(self, payload: str) -> None:
        notice = Notice.parse(payload)
        if notice is None:
            wake(self._wakeups.told_all())
        elif notice.ready:
            wake(self._wakeups.told_ready(notice.ready))
        elif notice.watched:
            wake(self._wakeups.told_watch(notice.watched))
        elif notice.due_us is not None:
            wake(self._wakeups.told_due(notice.due_us))
        else:
            wake(self._wakeups.told_topic(notice.topic))

    def _reconnect(self) -> bool:
        """Tries until it succeeds (True) or the store closes."""
        wait = _FIRST_WAIT
        while True:
            try:
                self._connection = self._listen()
                self._connection.execute(TELL_ALL, (self._connector.channel,))
                return True
            except (psycopg.Error, OnexError) as error:
                self._connection.close()
                _log.debug("the store's PostgreSQL does not answer yet: %s", error)
            if self._stopped(wait):
                return False
            wait = min(_LONGEST_WAIT, wait * 2)

    def _stopped(self, wait: float | None, *others: int) -> bool:
        """Waits for any of these sockets, and says whether the store closes."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stop_read, selectors.EVENT_READ)
            for other in others:
                selector.register(other, selectors.EVENT_READ)
            return any(key.fileobj is self._stop_read for key, _ in selector.select(wait))

    def _listen(self) -> Connection:
        connection = self._connector.connect()
        try:
            channel = sql.Identifier(self._connector.channel)
            connection.execute(sql.SQL("LISTEN {}").format(channel))
            row = connection.execute(FIRST, (self._connector.channel,)).fetchone()
            if row != (True,):
                connection.execute(COMPANY, (self._connector.channel,))
            if self._connector.instance:
                name = self._connector.lock_name(self._connector.instance)
                connection.execute(PRESENT, (name,))
        except BaseException:
            connection.close()
            raise
        return connection
