"""Where the nodes of the sample mesh keep their state."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STORES: Final = ("sqlite", "postgresql")


@contextmanager
def database(store: str, state: Path) -> Iterator[str]:
    """The address of a PostgreSQL server over the state folder, up while the block runs.

    Args:
        store: one of STORES; for sqlite the address is empty, since each node has files of its own.
        state: the folder.

    Raises:
        ConfigurationError: when the server does not start.
    """
    if store == "sqlite":
        yield ""
        return
    # A development dependency, which the sample on SQLite needs not.
    from servers.postgres import PostgresServer

    with PostgresServer(state / "postgres") as server:
        yield server.address
