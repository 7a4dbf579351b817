"""SQLite's failures as errors of the mesh."""

from __future__ import annotations

import apsw

from onex_grpc.errors import DatabaseConnectionError, OnexError, StoreError

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
    return StoreError(f"the store failed, nothing was written: {error}", context=context)
