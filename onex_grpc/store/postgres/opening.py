"""Opens a PostgreSQL store: schema, owner, threads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg

from onex_grpc.store.batcher import Batcher, OnBatch
from onex_grpc.store.postgres.clock import ServerClock
from onex_grpc.store.postgres.connection import Connector, schema_of
from onex_grpc.store.postgres.failures import translate
from onex_grpc.store.postgres.listener import Listener
from onex_grpc.store.postgres.reader import Reader
from onex_grpc.store.postgres.runner import PostgresRunner
from onex_grpc.store.postgres.schema import migrate
from onex_grpc.store.postgres.store import PostgresStore
from onex_grpc.store.wakeups import Wakeups

if TYPE_CHECKING:
    from onex_grpc.store.clock import Clock
    from onex_grpc.store.postgres.transaction import Transaction


async def open_postgres(
    address: str,
    *,
    owner: str = "",
    schema: str = "",
    clock: Clock | None = None,
    on_batch: OnBatch | None = None,
) -> PostgresStore:
    """Opens the store in a database; its schema is made where it is missing.

    Args:
        address: `postgresql://user@host:port/database`, with options of libpq.
        owner: the node whose store it is; where it is given, one process at a time may have it
            open, and one that has it open has proved that an earlier one is gone.
        schema: where the tables lie; one of the owner's name where it is empty.
        clock: the time of a test; the server's where it is None.
        on_batch: as for `open_store`.

    Raises:
        ConfigurationError: no store can be there, or its schema is newer.
        StoreInUseError: another process has the owner's store open.
        DatabaseConnectionError, StoreError: the server cannot be reached.
    """
    connector = Connector.parse(address, schema or schema_of(owner), owner)
    return await asyncio.to_thread(_open, connector, clock, on_batch)


def _open(connector: Connector, clock: Clock | None, on_batch: OnBatch | None) -> PostgresStore:
    try:
        writer = connector.connect_writer()
    except psycopg.Error as error:
        raise translate(error) from error
    try:
        migrate(writer, connector)
        server_clock = ServerClock(clock)
        wakeups = Wakeups(server_clock)
        runner = PostgresRunner(writer, connector, server_clock, wakeups)
        listener = Listener(connector, wakeups, lambda: runner.backend_pid)
    except psycopg.Error as error:
        writer.close()
        raise translate(error) from error
    except BaseException:
        writer.close()
        raise
    batcher: Batcher[Transaction] = Batcher(runner, on_batch=on_batch)
    return PostgresStore(batcher, Reader(connector, server_clock), listener, wakeups)
