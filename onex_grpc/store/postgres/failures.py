"""PostgreSQL's failures as errors of the mesh."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import errors

from onex_grpc.errors import DatabaseConnectionError, OnexError, StoreError

_RACES: Final = (
    errors.UniqueViolation,
    errors.DeadlockDetected,
    errors.SerializationFailure,
)
_PASSING: Final = (
    *_RACES,
    errors.LockNotAvailable,
    errors.QueryCanceled,
    errors.ReadOnlySqlTransaction,
    psycopg.InterfaceError,
    psycopg.OperationalError,
)


def is_race(error: Exception) -> bool:
    """Whether another process was in the way, and a new transaction sees what it has written."""
    return isinstance(error, _RACES)


def translate(error: psycopg.Error) -> OnexError:
    """The error for a failure before the commit: DatabaseConnectionError where a repeat may
    succeed, else StoreError.
    """
    context = {"sqlstate": error.sqlstate or ""}
    if isinstance(error, errors.DiskFull):
        return DatabaseConnectionError(
            "the disk of the store's PostgreSQL is full, nothing was written; free space on it",
            context=context,
        )
    if isinstance(error, _PASSING):
        return DatabaseConnectionError(
            f"the store's PostgreSQL does not answer, nothing was written: {_text(error)}",
            context=context,
        )
    return StoreError(f"the store failed, nothing was written: {_text(error)}", context=context)


def unknown_outcome(error: Exception) -> OnexError:
    """The error for a connection that was lost during the commit."""
    return DatabaseConnectionError(
        "the connection to the store's PostgreSQL was lost during the commit, so whether it was "
        f"written is unknown; repeat the call with the same ids: {_text(error)}",
        context={"sqlstate": (error.sqlstate if isinstance(error, psycopg.Error) else None) or ""},
    )


def _text(error: Exception) -> str:
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return primary or " ".join(str(error).split()) or type(error).__name__
