"""A pipeline of statements that fails by its first failure alone."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onex_grpc.store.postgres.connection import Connection


@contextmanager
def pipeline(connection: Connection) -> Iterator[None]:
    """Sends the block's statements without waiting for each one's result.

    psycopg's own block writes a warning to the log when an error leaves it, of what failed by that
    error; here the error is all.
    """
    failure: BaseException | None = None
    try:
        with connection.pipeline():
            try:
                yield
            except BaseException as error:
                failure = error
    except Exception:
        if failure is None:
            raise
    if failure is not None:
        raise failure
