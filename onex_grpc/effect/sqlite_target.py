"""A SQLite file as a target: write and idempotency key are one transaction, hence exactly once."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from onex.v1 import common_pb2, operation_pb2
from onex_grpc.effect.database_sql import (
    SqlStatement,
    result_row,
    sql_statements,
    statement_kinds,
    writes,
)
from onex_grpc.effect.operation import EffectRequest, Progress, Repeat
from onex_grpc.effect.refusal import key_reused, refuse_kind, refuse_unless
from onex_grpc.effect.sqlite_runner import SqliteRunner
from onex_grpc.effect.target import Outcome, Plan
from onex_grpc.errors import (
    AlreadyExistsError,
    CallCancelledError,
    ConfigurationError,
    ContractValidationError,
    DatabaseConnectionError,
    OnexError,
    Violation,
)
from onex_grpc.store.batcher import Batcher

if TYPE_CHECKING:
    from onex_grpc.effect.settings import SqliteTarget

_KEY_TABLE = """CREATE TABLE IF NOT EXISTS onex_idempotency(
  key TEXT PRIMARY KEY, content_hash BLOB NOT NULL, reply BLOB NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID"""
_BUSY_MS = 1000
_UNAVAILABLE = (
    apsw.BusyError,
    apsw.LockedError,
    apsw.CantOpenError,
    apsw.IOError,
    apsw.FullError,
    apsw.ReadOnlyError,
    apsw.NoMemError,
)
_KEY_TAKEN = (apsw.SQLITE_CONSTRAINT_PRIMARYKEY, apsw.SQLITE_CONSTRAINT_UNIQUE)


class SqliteDatabase:
    """Reads and writes the allowed tables of one SQLite file."""

    kind = "sqlite"
    keeps_outcomes = True

    def __init__(self, name: str, settings: SqliteTarget) -> None:
        self._name = name
        self._settings = settings
        self._tables = {table: frozenset(columns) for table, columns in settings.tables.items()}
        self._batcher: Batcher[apsw.Connection] | None = None

    async def open(self) -> None:
        """Opens the file, runs the schema, checks the allowed tables against it.

        Raises:
            ConfigurationError: when the file cannot be opened or lacks an allowed table or column.
        """
        try:
            connection = await asyncio.to_thread(self._connect)
        except (apsw.Error, OSError) as error:
            raise ConfigurationError(
                f"target {self._name!r}: {self._settings.path} cannot be opened: {error}"
            ) from error
        self._batcher = Batcher(SqliteRunner(connection))

    async def close(self) -> None:
        """Finishes what was submitted and closes the file."""
        if self._batcher is not None:
            await self._batcher.close()

    def plan(self, request: EffectRequest) -> Plan:
        """The statements, checked against the allow-list."""
        refuse_kind(request, "database")
        operation = request.operation.database
        statements = sql_statements(operation, self._tables)
        kinds = statement_kinds(operation)
        changes = writes(kinds)
        refuse_unless(changes <= ("write" in self._settings.allow), request, "write")
        refuse_unless(("select" in kinds) <= ("read" in self._settings.allow), request, "read")
        if request.key:
            repeat = Repeat.KEYED
        else:
            repeat = Repeat.NEVER if "insert" in kinds else Repeat.HARMLESS

        async def perform(progress: Progress) -> Outcome:
            return await self._perform(request, statements, progress)

        return Plan(changes, repeat, perform)

    async def _perform(
        self, request: EffectRequest, statements: list[SqlStatement], progress: Progress
    ) -> Outcome:
        if self._batcher is None:
            raise DatabaseConnectionError(f"target {self._name!r} is not open")

        # Taken once: by the writer's thread when it begins, or by a caller who gives up before.
        turn = threading.Lock()

        def work(connection: apsw.Connection) -> Outcome:
            if not turn.acquire(blocking=False):
                raise CallCancelledError("the caller gave up before its turn came")
            progress.begun = True
            return _execute(connection, request, statements)

        try:
            return await self._batcher.submit(work)
        except asyncio.CancelledError:
            progress.begun = not turn.acquire(blocking=False)
            raise
        except apsw.Error as error:
            # It was rolled back.
            progress.begun = False
            raise _translated(error, self._name) from error

    def _connect(self) -> apsw.Connection:
        path = Path(self._settings.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(_BUSY_MS)
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        if self._settings.schema:
            connection.execute(Path(self._settings.schema).read_text(encoding="utf-8"))
        connection.execute(_KEY_TABLE)
        self._check_tables(connection)
        return connection

    def _check_tables(self, connection: apsw.Connection) -> None:
        for table, allowed in self._tables.items():
            if table.startswith(("onex_", "sqlite_")):
                raise ConfigurationError(
                    f"target {self._name!r}: table {table!r} is the mesh's own or SQLite's; "
                    "take it off `tables`"
                )
            found = {
                row[0]
                for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
            }
            if missing := sorted(allowed - found) or (not found and ["every column"]):
                raise ConfigurationError(
                    f"target {self._name!r}: table {table!r} of {self._settings.path} lacks "
                    f"{missing}; create it in the file that `schema` names, or correct `tables`"
                )


def _execute(
    connection: apsw.Connection, request: EffectRequest, statements: list[SqlStatement]
) -> Outcome:
    if request.key:
        known = connection.execute(
            "SELECT content_hash, reply FROM onex_idempotency WHERE key = ?", (request.key,)
        ).fetchone()
        if known is not None:
            if known[0] != request.content_hash:
                raise key_reused(request)
            return Outcome(common_pb2.Data.FromString(known[1]), replayed=True)
    result = _run_statements(connection, statements)
    if request.key:
        connection.execute(
            "INSERT INTO onex_idempotency(key, content_hash, reply, at) VALUES (?, ?, ?, ?)",
            (request.key, request.content_hash, result.SerializeToString(), time.time_ns() // 1000),
        )
    return Outcome(result)


def _run_statements(connection: apsw.Connection, statements: list[SqlStatement]) -> common_pb2.Data:
    result = operation_pb2.DatabaseResult()
    for statement in statements:
        entry = result.results.add()
        rows = connection.execute(statement.text, statement.values).fetchall()
        if statement.columns:
            entry.rows.extend(result_row(statement.columns, row) for row in rows)
        else:
            entry.affected_rows = connection.changes()
    data = common_pb2.Data()
    data.message.Pack(result)
    return data


def _translated(error: apsw.Error, target: str) -> OnexError:
    if isinstance(error, _UNAVAILABLE):
        return DatabaseConnectionError(
            f"the database of target {target!r} does not answer: {error}"
        )
    if (
        isinstance(error, apsw.ConstraintError)
        and getattr(error, "extendedresult", 0) in _KEY_TAKEN
    ):
        return AlreadyExistsError(f"target {target!r} has such a row already: {error}")
    return ContractValidationError.of(
        Violation("operation.database", f"refused by SQLite: {error}")
    )
