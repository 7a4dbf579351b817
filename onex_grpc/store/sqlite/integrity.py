"""Looks through a store's file for damage: after an unclean end, beside those who use the store."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import apsw

from onex_grpc.errors import StoreError
from onex_grpc.store.sqlite.connection import open_reader
from onex_grpc.store.sqlite.failures import not_opened, translate
from onex_grpc.store.sqlite.location import require_file
from onex_grpc.store.sqlite.schema import check_owner

if TYPE_CHECKING:
    from onex_grpc.store.sqlite.lock import StoreLock

_log: Final = logging.getLogger(__name__)

OnDamage = Callable[[StoreError], None]
"""Hears, on a thread of the store's, that its file is damaged."""

_SHOWN_FAULTS: Final = 5
_NICE: Final = 19
_CACHE_KB: Final = 2048
# Some milliseconds of work.
_STEPS: Final = 20_000


def was_left_open(path: Path) -> bool:
    """Whether the last process ended without closing the store: then its log is still there."""
    log = Path(f"{path}-wal")
    return log.exists() and log.stat().st_size > 0


def tables_of(connection: apsw.Connection) -> list[str]:
    """The tables of a file, the one that names them first."""
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    return ["sqlite_schema", *(str(row[0]) for row in rows)]


def find_faults(connection: apsw.Connection, table: str) -> list[str]:
    """Reads a table with its indexes; returns the first faults, none where it is whole.

    The connection sees one moment of the store meanwhile, and the log cannot begin anew; so tables
    are read one by one.
    """
    return _faults(connection, "SELECT * FROM pragma_integrity_check(?)", (table,))


def _faults(connection: apsw.Connection, check: str, bindings: tuple[str, ...] = ()) -> list[str]:
    try:
        rows = connection.execute(check, bindings).fetchall()
    except apsw.CorruptError as error:
        return [str(error)]
    faults = [str(row[0]) for row in rows]
    return [] if faults == ["ok"] else faults[:_SHOWN_FAULTS]


def damaged(path: Path, faults: list[str]) -> StoreError:
    """The error for a file with these faults."""
    return StoreError(
        f"the store {path} is damaged ({'; '.join(faults)[:500]}); stop its node and restore a "
        "backup with `onex restore`",
        context={"path": str(path)},
    )


def examine(store: Path, progress: Callable[[str], None]) -> list[str]:
    """Reads a store, or a backup of one, whole; another process may write it meanwhile.

    Args:
        store: its file.
        progress: called now and then with what is being read.

    Returns:
        What is damaged, the first faults of each table; nothing where it is whole.

    Raises:
        ConfigurationError: there is no store, or it is no store.
        DatabaseConnectionError, StoreError: it cannot be read.
    """
    require_file(store)
    try:
        reader = open_reader(store)
    except apsw.Error as error:
        raise not_opened(store, error) from error
    try:
        check_owner(reader, store)
        return _find_all_faults(reader, progress)
    except apsw.Error as error:
        raise not_opened(store, error) from error
    finally:
        reader.close()


def _find_all_faults(connection: apsw.Connection, progress: Callable[[str], None]) -> list[str]:
    faults: list[str] = []
    for table in tables_of(connection):
        progress(table)

        def go_on(table: str = table) -> bool:
            progress(table)
            return False

        connection.set_progress_handler(go_on, _STEPS)
        faults += (f"{table}: {fault}" for fault in find_faults(connection, table))
    return faults


def check_integrity(connection: apsw.Connection, path: Path) -> None:
    """Reads the tables of a store that others use.

    Raises:
        StoreError: it is damaged; names the first faults.
    """
    for table in tables_of(connection):
        if faults := find_faults(connection, table):
            raise damaged(path, faults)


def check_copy(connection: apsw.Connection, path: Path) -> None:
    """Reads the copy of a store whole, which nobody uses yet, with the pages that are free.

    Args:
        connection: to the copy.
        path: what it was copied from.

    Raises:
        StoreError: it is damaged; names the first faults.
    """
    if faults := _faults(connection, f"PRAGMA integrity_check({_SHOWN_FAULTS})"):
        raise damaged(path, faults)


class Check:
    """A thread that reads a store's file while others use it, at the lowest priority.

    The lock keeps the mark of an unclean end until the file was found whole, so that a process
    which ends before leaves the check to the next one.
    """

    def __init__(self, path: Path, lock: StoreLock, on_damage: OnDamage | None) -> None:
        """Begins.

        Args:
            path: the store's file.
            lock: of the store, with the mark set.
            on_damage: hears of damage, which is logged in any case.
        """
        self._path = path
        self._lock = lock
        self._on_damage = on_damage
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="onex-store-check", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Gives up what is not read yet."""
        self._stopping.set()
        self._thread.join()

    def _work(self) -> None:
        _log.info("the store %s was not closed; it is checked while the node serves", self._path)
        _give_way()
        try:
            with self._reading() as connection:
                check_integrity(connection, self._path)
        except StoreError as error:
            _log.critical("%s", error)
            if self._on_damage is not None:
                self._on_damage(error)
        except (apsw.Error, OSError) as error:
            if not self._stopping.is_set():
                why = translate(error) if isinstance(error, apsw.Error) else error
                _log.warning(
                    "the store %s could not be checked, which the next start tries again: %s",
                    self._path,
                    why,
                )
        else:
            self._lock.mark(unchecked=False)
            _log.info("the store %s was checked: it is whole", self._path)

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection]:
        connection = open_reader(self._path)
        try:
            connection.pragma("cache_size", -_CACHE_KB)
            connection.set_progress_handler(self._stopping.is_set, _STEPS)
            yield connection
        finally:
            connection.close()


def _give_way() -> None:
    # On Linux the priority is that of the thread alone; elsewhere it would be the process's.
    if os.path.exists("/proc/self/task"):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
