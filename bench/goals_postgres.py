"""The goals of the PostgreSQL store that are not about its own transactions done one by one."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import psycopg

from bench.asyncpg_pool import AsyncpgPool
from bench.closed_loop import closed_loop
from bench.comparison import Comparison, Goal, p50_ms, per_s
from bench.pgqueuer_queue import Pgqueuer
from bench.queue_rate import intents_rate
from bench.store_load import KEYS, StoreLoad
from bench.store_pairs import one_by_one
from onex_grpc.store import open_store
from onex_grpc.store.postgres.connection import schema_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AsyncExitStack

    from onex_grpc.store import Store

SECONDS: Final = 0.2
CALLERS: Final = 32
_JOBS: Final = {1: 300, 10: 2_000}
_INTENTS: Final = {1: 3_000, 10: 10_000}


class BareUpdates:
    """One row after the other, each update a transaction of its own: one round trip."""

    def __init__(self, address: str, owner: str) -> None:
        """Works in a schema that the store has made."""
        self._db: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(
            address, autocommit=True, prepare_threshold=2
        )
        path = (f'"{schema_of(owner)}"',)
        self._db.execute("SELECT set_config('search_path', %s, false)", path)
        rows = [(f"bare-{number}",) for number in range(KEYS)]
        cursor = self._db.cursor(binary=True)
        cursor.executemany("INSERT INTO state (key, version, open) VALUES (%s, 1, false)", rows)
        self._execute = cursor.execute
        self._keys = itertools.cycle(rows)

    def update(self) -> None:
        """Changes one row."""
        self._execute("UPDATE state SET version = version + 1 WHERE key = %s", next(self._keys))

    def close(self) -> None:
        """Disconnects."""
        self._db.close()


async def postgres_goals(stack: AsyncExitStack, address: str) -> list[Comparison]:
    """Opens what is compared; the stack closes it."""
    return [
        *await _versus_pool(stack, address),
        *await _versus_update(stack, address),
        *await _versus_pgqueuer(stack, address),
    ]


async def _versus_pool(stack: AsyncExitStack, address: str) -> list[Comparison]:
    load = StoreLoad(await _store(stack, address, "bench/grouped"))
    await _store(stack, address, "bench/pool")
    pool = AsyncpgPool(address, schema_of("bench/pool"))
    await pool.open()
    stack.push_async_callback(pool.close)

    def rate(call: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[float]]:
        async def measured() -> float:
            return per_s(await closed_loop(call, CALLERS, SECONDS))

        return measured

    return [
        Comparison(
            "postgresql_reducer_vs_pool",
            "PostgreSQL, a reducer's commit by 32 ÷ one by one on an asyncpg pool of 16 by 32",
            Goal(2.5, "per s"),
            rate(load.reducer_commit),
            rate(pool.reducer_commit),
        ),
        Comparison(
            "postgresql_lease_vs_pool",
            "PostgreSQL, lease cycles by 32 ÷ one by one on an asyncpg pool of 16 by 32",
            Goal(6, "per s"),
            rate(load.lease_cycle),
            rate(pool.lease_cycle),
        ),
    ]


async def _versus_update(stack: AsyncExitStack, address: str) -> list[Comparison]:
    await _store(stack, address, "bench/bare")
    bare = BareUpdates(address, "bench/bare")
    stack.callback(bare.close)

    async def update() -> float:
        return p50_ms(one_by_one(bare.update, SECONDS))

    async def single(operation: str, what: str, transactions: int = 1) -> Comparison:
        load = StoreLoad(await _store(stack, address, f"bench/{operation}"))
        await load.prepare(operation)

        async def ours() -> float:
            taken = await closed_loop(getattr(load, operation), 1, SECONDS)
            return p50_ms(taken) / transactions

        return Comparison(
            f"postgresql_single_{operation}_vs_update",
            f"PostgreSQL, {what} by one, p50 ÷ that of a bare UPDATE of one row",
            Goal(1.6, "ms"),
            ours,
            update,
        )

    return [
        await single("reducer_commit", "a reducer's commit"),
        await single("epoch_cas", "a change of a workflow's state"),
        await single("lease_cycle", "a lease operation (a third of a cycle)", transactions=3),
    ]


async def _versus_pgqueuer(stack: AsyncExitStack, address: str) -> list[Comparison]:
    queue = await _store(stack, address, "bench/queue")
    peer = Pgqueuer(address)
    await peer.open()
    stack.push_async_callback(peer.close)

    def compared(batch: int, least: float) -> Comparison:
        return Comparison(
            f"queue_vs_pgqueuer_batch_{batch}",
            f"PostgreSQL, claim({batch}) and complete by 32 ÷ pgqueuer, batch {batch}",
            Goal(least, "per s"),
            lambda: intents_rate(queue, _INTENTS[batch], batch),
            lambda: peer.rate(_JOBS[batch], batch),
        )

    return [compared(1, 4), compared(10, 2)]


async def _store(stack: AsyncExitStack, address: str, owner: str) -> Store:
    store = await open_store(address, owner=owner)
    stack.push_async_callback(store.close)
    return store
