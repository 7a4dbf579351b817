"""The stores under test, and a look at their tables that does not go through the store."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import apsw
import psycopg

from onex_grpc.store.postgres.connection import schema_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.store.server import PostgresServer

Rows = list[tuple[Any, ...]]

BACKENDS: Final = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A store in a file."""

    path: Path
    owner: str = ""

    @property
    def address(self) -> str:
        """The store's address."""
        return f"sqlite:///{self.path}"

    def rows(self, *statements: str) -> list[Rows]:
        """What statements give, all of one moment."""
        flags = apsw.SQLITE_OPEN_READONLY
        with closing(apsw.Connection(str(self.path), flags=flags)) as connection:
            connection.execute("BEGIN")
            return [connection.execute(statement).fetchall() for statement in statements]

    def damage(self) -> str:
        """What SQLite finds wrong with the file; empty where nothing is."""
        ((found,), *_) = self.rows("PRAGMA integrity_check")[0]
        return "" if found == "ok" else str(found)


@dataclass(frozen=True, slots=True)
class PostgresSchema:
    """A store in a schema of a server."""

    server: PostgresServer
    owner: str

    @property
    def address(self) -> str:
        """The store's address."""
        return self.server.address

    def rows(self, *statements: str) -> list[Rows]:
        """What statements give, all of one moment."""
        with psycopg.connect(self.address) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute(
                "SELECT set_config('search_path', %s, true)", (f'"{schema_of(self.owner)}"',)
            )
            return [connection.execute(statement.encode()).fetchall() for statement in statements]

    def damage(self) -> str:
        """Nothing: PostgreSQL checks its pages as it reads them."""
        return ""


Target = SqliteFile | PostgresSchema
