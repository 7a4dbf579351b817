"""The schema of a store's database: numbered migrations that only go forward."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from psycopg import errors, sql

from onex_grpc.errors import ConfigurationError

if TYPE_CHECKING:
    from onex_grpc.store.postgres.connection import Connection, Connector


def migrate(connection: Connection, connector: Connector) -> None:
    """Brings the store to the newest schema, whole or not at all, however many processes start.

    Raises:
        ConfigurationError: the schema belongs to another program or a newer version of this one,
            the role may not make it, or the database is not one of UTF-8.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ConfigurationError(
            f"the store's database has the encoding {encoding}; make one with encoding UTF8"
        )
    try:
        with connection.transaction():
            connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 2))",
                (f"migrate\n{connector.schema}",),
            )
            _migrate(connection, connector)
    except errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            f"the store's role may not make or use the schema {connector.quoted_schema}: "
            f"{error.diag.message_primary}; grant it CREATE on the database"
        ) from None


def _migrate(connection: Connection, connector: Connector) -> None:
    name = connector.quoted_schema
    found = connection.execute(
        "SELECT oid FROM pg_namespace WHERE nspname = %s", (connector.schema,)
    ).fetchone()
    if found is None:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(connector.schema)))
    tables = {
        str(row[0])
        for row in connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s", (connector.schema,)
        )
    }
    if tables and "onex_schema" not in tables:
        raise ConfigurationError(
            f"the schema {name} belongs to another program; take another database"
        )
    connection.execute("CREATE TABLE IF NOT EXISTS onex_schema (number integer PRIMARY KEY)")
    row = connection.execute("SELECT coalesce(max(number), 0) FROM onex_schema").fetchone()
    version: int = row[0] if row else 0
    scripts = _migrations()
    if version > len(scripts):
        raise ConfigurationError(
            f"the store {name} has schema {version}, this version of onex-grpc knows "
            f"{len(scripts)}; install the version that wrote it, or a newer one"
        )
    for number, script in enumerate(scripts, start=1):
        if number > version:
            connection.execute(script.encode())
            connection.execute("INSERT INTO onex_schema (number) VALUES (%s)", (number,))


def _migrations() -> list[str]:
    folder = resources.files("onex_grpc.store.postgres") / "migrations"
    scripts = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(folder / name).read_text(encoding="utf-8") for name in scripts]
