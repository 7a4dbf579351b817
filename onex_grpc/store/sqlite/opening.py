"""Opens a SQLite store: lock, owner, schema, threads."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import apsw

from onex_grpc.store.batcher import Batcher, OnBatch
from onex_grpc.store.clock import Clock, StoreClock
from onex_grpc.store.sqlite.connection import grow_wal, make_durable, open_writer
from onex_grpc.store.sqlite.failures import not_opened
from onex_grpc.store.sqlite.integrity import Check, OnDamage, was_left_open
from onex_grpc.store.sqlite.location import prepare_folder
from onex_grpc.store.sqlite.lock import StoreLock
from onex_grpc.store.sqlite.reader import Reader
from onex_grpc.store.sqlite.schema import check_owner, migrate
from onex_grpc.store.sqlite.store import SqliteStore
from onex_grpc.store.sqlite.transaction import CLOCK_LAG_US, SqliteRunner, Transaction
from onex_grpc.store.wakeups import Wakeups

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


async def open_sqlite(
    path: Path,
    *,
    clock: Clock,
    on_batch: OnBatch | None = None,
    on_damage: OnDamage | None = None,
) -> SqliteStore:
    """Opens the store in a file, which is made where it is missing, for this process alone.

    A file that was not closed is checked beside its use: that takes as long as it is large.

    Raises:
        ConfigurationError: the file cannot be written, is not a store, or is one of a newer
        version.
        StoreInUseError: another process has it open.
        DatabaseConnectionError, StoreError: SQLite cannot open it, or its head is damaged.
    """
    return await asyncio.to_thread(_open, path, clock, on_batch, on_damage)


def _open(
    path: Path, clock: Clock, on_batch: OnBatch | None, on_damage: OnDamage | None
) -> SqliteStore:
    with _told(path):
        return _open_file(path, clock, on_batch, on_damage)


def _open_file(
    path: Path, clock: Clock, on_batch: OnBatch | None, on_damage: OnDamage | None
) -> SqliteStore:
    prepare_folder(path)
    lock = StoreLock(path)
    with _released_on_failure(lock):
        if was_left_open(path):
            lock.mark(unchecked=True)
        connection = open_writer(path)
        try:
            check_owner(connection, path)
            make_durable(connection)
            migrate(connection)
            grow_wal(path)
            store_clock = StoreClock(clock, floor_us=_stored_time(connection))
            wakeups = Wakeups(store_clock)
            runner = SqliteRunner(connection, store_clock, wakeups, lock.release)
            reader = Reader(path)
        except BaseException:
            connection.close()
            raise
    batcher: Batcher[Transaction] = Batcher(runner, on_batch=on_batch)
    check = Check(path, lock, on_damage) if lock.unchecked else None
    return SqliteStore(path, batcher, reader, store_clock, wakeups, check)


def _stored_time(connection: apsw.Connection) -> int:
    (stored_us,) = connection.execute("SELECT clock_us FROM meta").fetchone() or (0,)
    return stored_us + CLOCK_LAG_US if stored_us else 0


@contextmanager
def _released_on_failure(lock: StoreLock) -> Iterator[None]:
    try:
        yield
    except BaseException:
        lock.release()
        raise


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise not_opened(path, error) from error
