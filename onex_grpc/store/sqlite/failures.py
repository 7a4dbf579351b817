"""SQLite's failures as errors of the mesh."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

import apsw

from onex_grpc.errors import ConfigurationError, DatabaseConnectionError, OnexError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

_PASSING = (
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.FullError,
    apsw.IOError,
    apsw.InterruptError,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.PermissionsError,
    apsw.ReadOnlyError,
)
_DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError)
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def translate(error: apsw.Error) -> OnexError:
    """The error for a failure of the database: DatabaseConnectionError where a repeat may succeed,
    else StoreError.
    """
    name = type(error).__name__.removesuffix("Error")
    context = {"sqlite": name}
    if isinstance(error, apsw.FullError):
        return DatabaseConnectionError(
            "the store's disk is full, nothing was written; free space on it", context=context
        )
    if isinstance(error, _PASSING):
        return DatabaseConnectionError(
            f"the store does not answer, nothing was written: {error}", context=context
        )
    if isinstance(error, _DAMAGE):
        return StoreError(
            f"the store's file is damaged, nothing was written: {error}; stop the node and restore "
            "a backup with `onex restore`",
            context=context,
        )
    return StoreError(f"the store failed, nothing was written: {error}", context=context)


def not_opened(path: Path, error: apsw.Error | OSError) -> OnexError:
    """The error for a file that does not open: DatabaseConnectionError where it may later,
    ConfigurationError where it cannot be a store's, StoreError where it is damaged.
    """
    context = {"path": str(path)}
    if isinstance(error, OSError):
        if error.errno in _NO_SPACE:
            return DatabaseConnectionError(
                f"the disk of the store {path} is full ({error.strerror}); free space on it",
                context=context,
            )
        return ConfigurationError(
            f"the store {path} cannot be written ({error.strerror}); make its folder writable for "
            "this user, or set another state folder",
            context=context,
        )
    # SQLite has no code of its own for a header that makes no sense.
    if not isinstance(error, _DAMAGE) and "file format" not in str(error):
        return translate(error)
    return StoreError(
        f"the store {path} is damaged ({error}); restore a backup with `onex restore`",
        context={**context, "sqlite": type(error).__name__.removesuffix("Error")},
    )
