"""From a store's address to the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onex_grpc.errors import ConfigurationError
from onex_grpc.store.clock import Clock, wall_clock_us
from onex_grpc.store.memory import open_memory
from onex_grpc.store.sqlite import open_sqlite

if TYPE_CHECKING:
    from onex_grpc.store.batcher import OnBatch
    from onex_grpc.store.protocol import Store

_SQLITE = "sqlite:///"
_MEMORY = "memory:"


async def open_store(
    address: str | Path, *, clock: Clock = wall_clock_us, on_batch: OnBatch | None = None
) -> Store:
    """Opens durable state; close it before the event loop ends.

    Args:
        address: a file's path, or `sqlite:///relative/path` or `sqlite:////absolute/path`, or
        `memory:` for a store of its own that ends when it is closed.
        clock: microseconds since the Unix epoch, by which leases and waits are judged.
        on_batch: hears of each batch on the writer's thread: number of operations, seconds
        including the commit.

    Raises:
        ConfigurationError: no store can be at this address; names it and the remedy.
        StoreInUseError: another process has the file open; names its pid.
        DatabaseConnectionError, StoreError: the database does not open.
    """
    if address == _MEMORY:
        return open_memory(clock=clock, on_batch=on_batch)
    return await open_sqlite(_path(address), clock=clock, on_batch=on_batch)


def _path(address: str | Path) -> Path:
    if isinstance(address, Path):
        return address
    path = address.removeprefix(_SQLITE)
    if not path or "://" in path:
        kind = address.partition("://")[0] if "://" in address else address
        raise ConfigurationError(
            f"store {kind!r}: there is no store of this kind; use sqlite:///path/to/file.db",
            context={"store": kind},
        )
    return Path(path)
