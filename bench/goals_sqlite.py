"""The goals of the SQLite store that are not about its own transactions done one by one."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

from bench.aiosqlite_commits import AiosqliteCommits
from bench.closed_loop import closed_loop
from bench.comparison import Comparison, Goal, per_s
from bench.store_load import KEYS, StoreLoad
from bench.store_pairs import one_by_one
from onex_grpc.store import open_store
from onex_grpc.store.sqlite import opening
from onex_grpc.store.sqlite.connection import grow_wal, make_durable, open_writer

if TYPE_CHECKING:
    from contextlib import AsyncExitStack
    from pathlib import Path

    import apsw

SECONDS: Final = 0.2
CALLERS: Final = 32
_OPERATIONS_OF_A_CYCLE: Final = 3


class BareUpdates:
    """One row after the other, each update a transaction that is durable before the next."""

    def __init__(self, path: Path) -> None:
        self._db = open_writer(path)
        make_durable(self._db)
        self._db.execute("CREATE TABLE bare (id TEXT PRIMARY KEY, at INTEGER) WITHOUT ROWID")
        rows = [(f"bench-{number}",) for number in range(KEYS)]
        with self._db:
            self._db.executemany("INSERT INTO bare VALUES (?, 0)", rows)
        grow_wal(path)
        self._execute = self._db.cursor().execute
        self._keys = itertools.cycle(rows)

    def update(self) -> None:
        """Changes one row."""
        self._execute("UPDATE bare SET at = at + 1 WHERE id = ?", next(self._keys))

    def close(self) -> None:
        """Closes the file."""
        self._db.close()


async def sqlite_goals(stack: AsyncExitStack, folder: Path) -> list[Comparison]:
    """Opens what is compared; the stack closes it."""
    full = await _load(stack, folder / "full.db")
    # The store itself knows no setting under which a loss of power takes acknowledged commits.
    with patch.object(opening, "make_durable", _make_less_durable):
        normal = await _load(stack, folder / "normal.db")
    leases = await _load(stack, folder / "leases.db")
    peer = AiosqliteCommits(folder / "aiosqlite.db")
    await peer.open()
    stack.push_async_callback(peer.close)
    bare = BareUpdates(folder / "bare.db")
    stack.callback(bare.close)

    async def commits(load: StoreLoad) -> float:
        return per_s(await closed_loop(load.reducer_commit, CALLERS, SECONDS))

    async def peers_commits() -> float:
        return per_s(await closed_loop(peer.reducer_commit, CALLERS, SECONDS))

    async def lease_operations() -> float:
        cycles = per_s(await closed_loop(leases.lease_cycle, CALLERS, SECONDS))
        return _OPERATIONS_OF_A_CYCLE * cycles

    async def updates() -> float:
        return per_s(one_by_one(bare.update, SECONDS))

    return [
        Comparison(
            "sqlite_full_vs_normal",
            "SQLite, a reducer's commit by 32: synchronous=FULL ÷ NORMAL",
            Goal(0.85, "per s"),
            lambda: commits(full),
            lambda: commits(normal),
        ),
        Comparison(
            "sqlite_vs_aiosqlite",
            "SQLite, a reducer's commit by 32 ÷ the same transaction through aiosqlite by 32",
            Goal(5, "per s"),
            lambda: commits(full),
            peers_commits,
        ),
        Comparison(
            "sqlite_lease_vs_bare_update",
            "SQLite, lease operations by 32 ÷ updates of one row one by one",
            Goal(10, "per s"),
            lease_operations,
            updates,
        ),
    ]


async def _load(stack: AsyncExitStack, path: Path) -> StoreLoad:
    store = await open_store(path)
    stack.push_async_callback(store.close)
    return StoreLoad(store)


def _make_less_durable(connection: apsw.Connection) -> None:
    make_durable(connection)
    connection.pragma("synchronous", "normal")
