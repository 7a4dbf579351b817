"""Connections to a store's file, and how they are set."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import apsw

from onex_grpc.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

# Older libraries can corrupt the file when a checkpoint races a commit
# (https://www.sqlite.org/wal.html#walresetbug).
_FIXED_SQLITE: Final = 3_051_003
_BUSY_MS: Final = 5000
_CHECKPOINT_PAGES: Final = 1000
# A commit into a file that grows takes twice as long as one into a file that is there. What a
# checkpoint leaves
# allocated is used again, so this is the size of one round plus its last transaction.
_WAL_BYTES: Final = 6 * 1024 * 1024


def open_writer(path: Path) -> apsw.Connection:
    """Opens the only connection that writes and checkpoints.

    Raises:
        ConfigurationError: the SQLite library is one that can corrupt the file.
        apsw.Error: SQLite cannot open it.
    """
    if apsw.SQLITE_VERSION_NUMBER < _FIXED_SQLITE:
        raise ConfigurationError(
            f"SQLite {apsw.sqlite_lib_version()} can corrupt a store; install apsw 3.51.3 or newer"
        )
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_NOMUTEX
    return _set(apsw.Connection(str(path), flags=flags))


def make_durable(connection: apsw.Connection) -> None:
    """Sets the connection so that a commit which returned survives a loss of power."""
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.pragma("wal_autocheckpoint", _CHECKPOINT_PAGES)
    connection.pragma("cache_size", -16 * 1024)
    connection.pragma("temp_store", "memory")


def grow_wal(path: Path) -> None:
    """Writes the write-ahead log out to its working size; SQLite takes the zeros for the end of the
    log.
    """
    with open(f"{path}-wal", "ab") as wal:
        missing = _WAL_BYTES - wal.tell()
        if missing > 0:
            wal.write(bytes(missing))
            wal.flush()
            os.fsync(wal.fileno())


def open_reader(path: Path) -> apsw.Connection:
    """Opens a connection that only reads; what the writer has committed before a statement begins,
    the statement sees.
    """
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_NOMUTEX
    connection = _set(apsw.Connection(str(path), flags=flags))
    connection.pragma("wal_autocheckpoint", 0)
    return connection


def _set(connection: apsw.Connection) -> apsw.Connection:
    connection.set_busy_timeout(_BUSY_MS)
    # Without it SQLite prepares a statement with a bound LIMIT, and some updates with a sub-select,
    # anew at each execution: three quarters of what a claim takes.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    return connection
