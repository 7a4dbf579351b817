"""Another program's transaction on the tables of a store in PostgreSQL."""

from __future__ import annotations

import asyncio

import psycopg

Rival = psycopg.Connection[tuple[object, ...]]


async def blocked(rival: Rival) -> None:
    """Returns when another session waits for a lock of `rival`."""
    question = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
    async with asyncio.timeout(10):
        while True:
            found = rival.execute(question, (rival.info.backend_pid,)).fetchone()
            if found is not None and found[0]:
                return
            await asyncio.sleep(0.005)
