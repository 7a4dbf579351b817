"""Opens a PostgreSQL store: schema, owner, threads."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

import psycopg

from onex_grpc.errors import DatabaseConnectionError
from onex_grpc.store.batcher import Batcher, OnBatch
from onex_grpc.store.postgres.clock import ServerClock
from onex_grpc.store.postgres.connection import Connector, schema_of
from onex_grpc.store.postgres.failures import translate
from onex_grpc.store.postgres.listener import Listener
from onex_grpc.store.postgres.reader import Reader
from onex_grpc.store.postgres.runner import PostgresRunner
from onex_grpc.store.postgres.schema import migrate
from onex_grpc.store.postgres.store import PostgresStore
from onex_grpc.store.postgres.transaction import Operation
from onex_grpc.store.wakeups import Wakeups

if TYPE_CHECKING:
    from onex_grpc.store.clock import Clock
    from onex_grpc.store.postgres.transaction import Transaction

_log: Final = logging.getLogger(__name__)
_TRY_AGAIN: Final = 0.25


async def open_postgres(
    address: str,
    *,
    owner: str = "",
    instance: str = "",
    schema: str = "",
    patience: float = 0.0,
    clock: Clock | None = None,
    on_batch: OnBatch | None = None,
) -> PostgresStore:
    """Opens the store in a database; its schema is made where it is missing.

    Args:
        address: `postgresql://user@host:port/database`, with options of libpq.
        owner: the node whose store it is; where it is given, one process at a time may have it
            open, and one that has it open has proved that an earlier one is gone.
        instance: which of the owner's processes this is, where there may be several; then one
            process at a time may have it open as each.
        schema: where the tables lie; one of the owner's name where it is empty.
        patience: seconds to wait for a server that is down, or starting.
        clock: the time of a test; the server's where it is None.
        on_batch: as for `open_store`.

    Raises:
        ConfigurationError: no store can be there, or its schema is newer.
        StoreInUseError: another process has the owner's store open, as this instance.
        DatabaseConnectionError, StoreError: the server cannot be reached.
    """
    connector = Connector.parse(address, schema or schema_of(owner), owner, instance)
    deadline = time.monotonic() + patience
    told = refused = False
    while True:
        try:
            return await asyncio.to_thread(_open, connector, clock, on_batch)
        except DatabaseConnectionError as error:
            was_refused, refused = refused, not await asyncio.to_thread(connector.is_down)
            # Twice, since it may have come up in between.
            if time.monotonic() >= deadline or (refused and was_refused):
                raise
            if not (told or refused):
                _log.warning("waiting up to %g s for it: %s", patience, error.message)
                told = True
        await asyncio.sleep(_TRY_AGAIN)


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
    # A batch, though it writes nothing, has the writer connect again where it was cut off, too: its
    # lock shows the others that this process is there.
    listener.start(lambda: batcher.post_first(Operation("", lambda tx: None)))
    return PostgresStore(batcher, Reader(connector, server_clock), listener, wakeups, connector)
