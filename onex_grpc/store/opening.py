"""From a store's address to the store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from onex_grpc.errors import ConfigurationError
from onex_grpc.store.clock import Clock, wall_clock_us
from onex_grpc.store.memory import open_memory
from onex_grpc.store.sqlite import open_sqlite

if TYPE_CHECKING:
    from onex_grpc.store.batcher import OnBatch
    from onex_grpc.store.protocol import Store
    from onex_grpc.store.sqlite.integrity import OnDamage

_SQLITE = "sqlite:///"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_MEMORY = "memory:"
_POSTGRES = ("postgresql://", "postgres://")


async def open_store(
    address: str | Path,
    *,
    owner: str = "",
    instance: str = "",
    patience: float = 0.0,
    clock: Clock | None = None,
    on_batch: OnBatch | None = None,
    on_damage: OnDamage | None = None,
) -> Store:
    """Opens durable state; close it before the event loop ends.

    Args:
        address: a file's path, `sqlite:///relative/path`, `sqlite:////absolute/path`,
            `postgresql://user@host:port/database`, or `memory:` for a store of its own that ends
            when it is closed.
        owner: the node whose state it is. In PostgreSQL each has tables of its own, which one
            process at a time may have open; a SQLite file is one process's in any case.
        instance: which of the owner's processes this is, where several share a PostgreSQL store;
            nothing for the others.
        patience: seconds to wait for a PostgreSQL server that is down, or starting.
        clock: microseconds since the Unix epoch, by which leases and waits are judged; the
            machine's where it is None, or that of the PostgreSQL server.
        on_batch: hears of each batch on the writer's thread: number of operations, seconds
            including the commit.
        on_damage: hears, on a thread of the store's, when a SQLite file that was not closed turns
            out to be damaged, which is found out while it is used.

    Raises:
        ConfigurationError: no store can be at this address; names the remedy.
        StoreInUseError: another process has it open; names its pid where it is on this host.
        DatabaseConnectionError, StoreError: the database does not open.
    """
    if address == _MEMORY and not instance:
        return open_memory(clock=clock or wall_clock_us, on_batch=on_batch)
    if str(address).startswith(_POSTGRES):
        try:
            from onex_grpc.store.postgres import open_postgres
        except ImportError as absent:
            raise ConfigurationError(
                f"store: PostgreSQL needs psycopg, which does not load ({absent}); install "
                "onex-grpc[postgres]"
            ) from absent
        return await open_postgres(
            str(address),
            owner=owner,
            instance=instance,
            patience=patience,
            clock=clock,
            on_batch=on_batch,
        )
    if instance:
        raise ConfigurationError(
            f"instance: {instance}: this store has one process; leave it out, or use "
            "postgresql://user@host/database"
        )
    return await open_sqlite(
        _path(address), clock=clock or wall_clock_us, on_batch=on_batch, on_damage=on_damage
    )


def _path(address: str | Path) -> Path:
    if isinstance(address, Path):
        return address
    path = address.removeprefix(_SQLITE)
    # A slip in an address must not become a file of that name beside the database that was meant.
    if not path.strip() or _SCHEME.match(path):
        # No more than the kind is shown, since the rest may hold a password.
        kind = address.partition(":")[0]
        raise ConfigurationError(
            f"store {kind!r}: there is no store of this kind; use "
            "sqlite:///path/to/file.db or postgresql://user@host/database",
            context={"store": kind},
        )
    if path != address and "?" in path:
        raise ConfigurationError(
            f"store {address!r}: an address of a SQLite file has no options; leave out what begins "
            "with '?'"
        )
    if not path.isprintable():
        raise ConfigurationError(
            f"store {address!r}: a path has no control characters; write it without them"
        )
    return Path(path)
