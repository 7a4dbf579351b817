"""Statements that are sent together when an answer is waited for, over libpq's pipeline.

A connection of psycopg sends each statement of a pipeline by itself, wakes the server for it, and
takes 30 to 50 us of Python to do so; a transaction has about ten.
"""

from __future__ import annotations

import itertools
import re
import select
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, LiteralString

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format, TransactionStatus

from onex_grpc.store.postgres.connection import limit_transactions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.pq.abc import PGresult

    from onex_grpc.store.postgres.connection import Connection
    from onex_grpc.store.postgres.transaction import Row

_PLACEHOLDER: Final = re.compile(r"%[sb]")
_LOOK_AGAIN_MS: Final = 1000
# More than the server gives a statement (statement_timeout).
_SILENCE_SECONDS: Final = 90

# A statement, and the types of its values as PostgreSQL numbers them.
_Prepared = tuple[LiteralString, tuple[int, ...]]


class Answer:
    """What the server says to one statement; asking for it waits for all that were sent.

    Attributes:
        command: how the server calls what it did, once it has answered.
    """

    __slots__ = ("_exchange", "_rows", "command")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.command = b""
        self._rows: list[Row] | None = None

    def fill(self, rows: list[Row], command: bytes) -> None:
        """It has come."""
        self._rows = rows
        self.command = command

    def fetchall(self) -> list[Row]:
        """All rows; none where the statement returns none.

        Raises:
            psycopg.Error: this or another statement that was sent with it has failed.
        """
        if self._rows is None:
            self._exchange.wait()
        if self._rows is None:
            raise RuntimeError("the statement failed with the others that were sent with it")
        return self._rows

    def fetchone(self) -> Row | None:
        """The first row.

        Raises:
            psycopg.Error: as for `fetchall`.
        """
        rows = self.fetchall()
        return rows[0] if rows else None


class Exchange:
    """The connection that writes. A statement is prepared when it is first sent, for the types of
    its values.
    """

    def __init__(self, connection: Connection, *, silence: int = _SILENCE_SECONDS) -> None:
        """Takes the connection over: from here on it is only used through this.

        Args:
            connection: as it was opened.
            silence: seconds after which a server that neither says nor takes anything is given up.

        Raises:
            psycopg.Error: the connection is lost.
        """
        limit_transactions(connection)
        self._connection = connection
        self._silence = silence
        self._silent_for = 0
        self._pg = connection.pgconn
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()
        self._values = Transformer(connection)
        self._names: dict[_Prepared, bytes] = {}
        self._numbers = itertools.count()
        # In the order in which they were sent; a _Prepared stands for its preparation.
        self._awaited: deque[Answer | _Prepared] = deque()
        self._readable, self._both = select.poll(), select.poll()
        self._readable.register(self._pg.socket, select.POLLIN)
        self._both.register(self._pg.socket, select.POLLIN | select.POLLOUT)

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self._connection.closed

    @property
    def backend_pid(self) -> int:
        """The server's process for this connection."""
        return self._pg.backend_pid

    def close(self) -> None:
        """Closes the connection; what was not committed is rolled back by the server."""
        self._connection.close()

    def execute(self, statement: LiteralString, bindings: Sequence[object] = ()) -> Answer:
        """Notes a statement to be sent with those after it."""
        values = self._values.dump_sequence(bindings, [PyFormat.BINARY] * len(bindings))
        formats = self._values.formats if bindings else ()
        prepared = (statement, tuple(self._values.types or ()) if bindings else ())
        name = self._names.get(prepared) or self._prepare(prepared)
        self._pg.send_query_prepared(name, values, formats, Format.BINARY)
        answer = Answer(self)
        self._awaited.append(answer)
        return answer

    def wait(self) -> None:
        """Sends what was noted, and waits for all answers.

        Raises:
            psycopg.Error: a statement failed, and those after it were not run; or the connection
                is lost, or given up as one that stays silent, and is closed.
        """
        self._silent_for = 0
        failure: psycopg.Error | None = None
        try:
            # It ends no transaction that was begun. A server that was asked for answers alone would
            # not take the session for idle, and would keep the locks of a process that is stopped.
            self._pg.pipeline_sync()
            self._send()
            while (result := self._receive()).status != ExecStatus.PIPELINE_SYNC:
                told = self._take(result)
                failure = failure or told
        except psycopg.OperationalError as lost:
            self.close()
            # What the server said last tells why.
            raise failure or lost from None
        except BaseException:
            # What is still to come would be taken for the answers to what is sent next.
            self.close()
            raise
        if failure is not None:
            raise failure

    def commit(self) -> None:
        """Ends the transaction with what it has written.

        Raises:
            psycopg.Error: as for `wait`; nothing was written, unless the connection was lost.
        """
        answer = self.execute("COMMIT")
        self.wait()
        if answer.command != b"COMMIT":
            # The server takes the COMMIT of a transaction that has failed for a ROLLBACK.
            raise psycopg.errors.InFailedSqlTransaction("the transaction had failed before")

    def roll_back(self) -> None:
        """Ends the transaction, where one was begun and not committed, with nothing written.

        Raises:
            psycopg.Error: the connection is lost.
        """
        if self._awaited:
            # They cannot be taken back, and may be what began the transaction.
            with suppress(psycopg.Error):
                self.wait()
        if self._pg.transaction_status != TransactionStatus.IDLE:
            self.execute("ROLLBACK")
            self.wait()

    def _prepare(self, prepared: _Prepared) -> bytes:
        statement, types = prepared
        numbers = itertools.count(1)
        numbered = _PLACEHOLDER.sub(lambda _: f"${next(numbers)}", statement)
        name = f"onex_{next(self._numbers)}".encode()
        self._pg.send_prepare(name, numbered.encode(), types)
        self._names[prepared] = name
        self._awaited.append(prepared)
        return name

    def _send(self) -> None:
        while self._pg.flush():
            if self._poll(self._both) & ~select.POLLOUT:
                # It may not read on before it has got rid of what it says.
                self._pg.consume_input()

    def _receive(self) -> PGresult:
        # There is one None between two results, and no end of them where the connection is gone.
        for _ in range(2):
            while self._pg.is_busy():
                self._poll(self._readable)
                self._pg.consume_input()
            result = self._pg.get_result()
            if result is not None:
                return result
        raise psycopg.OperationalError("the connection is lost")

    def _poll(self, sockets: select.poll) -> int:
        for _, events in sockets.poll(_LOOK_AGAIN_MS):
            self._silent_for = 0
            return events
        # Counted, not measured: a process that was stopped itself has not listened meanwhile.
        self._silent_for += 1
        if self._silent_for >= self._silence:
            raise psycopg.OperationalError(f"the server has been silent for {self._silence} s")
        # What TLS holds back for want of room does not show on the socket.
        return select.POLLIN

    def _take(self, result: PGresult) -> psycopg.Error | None:
        if not self._awaited:
            # A session that is ended while it commits says so after its last answer.
            return error_from_result(result)
        awaited = self._awaited.popleft()
        done = result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)
        if isinstance(awaited, Answer):
            if done:
                awaited.fill(self._rows(result), result.command_status or b"")
        elif not done:
            del self._names[awaited]
        return error_from_result(result) if result.status == ExecStatus.FATAL_ERROR else None

    def _rows(self, result: PGresult) -> list[Row]:
        if result.status == ExecStatus.COMMAND_OK:
            return []
        self._values.set_pgresult(result, format=Format.BINARY)
        return self._values.load_rows(0, result.ntuples, tuple)
