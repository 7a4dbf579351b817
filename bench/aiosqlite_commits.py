"""The transaction of a reducer's commit through aiosqlite: one connection, one caller at a time."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

import aiosqlite

from bench.bare_sqlite import HISTORY, INTENT, intent_row
from bench.store_load import KEYS, STATE, STATE_TYPE, new_intents
from onex_grpc.store.sqlite.connection import grow_wal, make_durable, open_writer
from onex_grpc.store.sqlite.schema import migrate

if TYPE_CHECKING:
    from pathlib import Path


class AiosqliteCommits:
    """The store's tables and statements, each transaction durable before the next begins."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = asyncio.Lock()
        self._keys = deque((f"bench-{number}", 0) for number in range(KEYS))

    async def open(self) -> None:
        """Makes the tables, and connects."""
        made = open_writer(self._path)
        make_durable(made)
        migrate(made)
        made.close()
        self._db = await aiosqlite.connect(self._path, isolation_level=None)
        for setting in ("synchronous = FULL", "cache_size = -16384", "temp_store = MEMORY"):
            await self._db.execute(f"PRAGMA {setting}")
        grow_wal(self._path)

    async def close(self) -> None:
        """Disconnects."""
        await self._db.close()

    async def reducer_commit(self) -> None:
        """State, history and three intents, at the expected version."""
        name, version = self._keys.popleft()
        intents = new_intents(3)
        async with self._turn:
            await self._db.execute("BEGIN IMMEDIATE")
            now_us = time.time_ns() // 1000
            state_id = await self._advance(name, version)
            row = (state_id, version + 1, 0, now_us, STATE_TYPE, STATE)
            await self._db.execute(HISTORY, row)
            await self._db.executemany(INTENT, [intent_row(each, now_us) for each in intents])
            await self._db.execute("COMMIT")
        self._keys.append((name, version + 1))

    async def _advance(self, key: str, expected: int) -> int:
        select = "SELECT id, version FROM state WHERE key = ?"
        found = list(await self._db.execute_fetchall(select, (key,)))
        if (found[0][1] if found else 0) != expected:
            raise RuntimeError("another version")
        if found:
            state_id: int = found[0][0]
            update = "UPDATE state SET version = ? WHERE id = ?"
            await self._db.execute(update, (expected + 1, state_id))
            return state_id
        made = await self._db.execute(
            "INSERT INTO state (key, version, open) VALUES (?, 1, 0)", (key,)
        )
        new_id: int | None = made.lastrowid
        if new_id is None:
            raise RuntimeError("no row was made")
        return new_id
