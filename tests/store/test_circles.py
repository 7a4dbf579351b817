"""Two processes that want the same locks in any order: none waits for the other in a circle."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import TYPE_CHECKING

import psycopg

from onex_grpc.store import PurgePosition, Retention, Store, open_store
from tests.store.builders import SECOND, action, change, intent

if TYPE_CHECKING:
    from tests.store.server import PostgresServer

_COMMITS = 400
_KEYS = "abcdef"


def deadlocks(server: PostgresServer) -> object:
    """How many circles the server has broken, each after a second."""
    with psycopg.connect(server.address) as connection:
        return connection.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()


async def test_emitting_completing_and_purging_side_by_side(
    postgres: PostgresServer, owner: str
) -> None:
    before = deadlocks(postgres)
    stores = [await open_store(postgres.address, owner=owner, instance=name) for name in ("a", "b")]
    chosen = random.Random(7)  # noqa: S311 - keeps no secret
    numbers = itertools.count()
    left = {"intents": 2 * _COMMITS}

    async def emit(store: Store) -> None:
        while (number := next(numbers)) < _COMMITS:
            keys = chosen.sample(_KEYS, 2)
            intents = tuple(intent(f"{number}-{key}", order_key=key) for key in keys)
            done = (action(f"a{number}", scope="reducer/o"),)
            await store.commit(change(None, key=f"k{number % 8}", intents=intents, actions=done))

    async def work(store: Store, worker: str) -> None:
        while left["intents"]:
            claimed = list(await store.claim_intents(worker, 8, 60 * SECOND))
            chosen.shuffle(claimed)
            completed = await store.complete_intents([one.claim_token for one in claimed])
            left["intents"] -= sum(completed)
            await asyncio.sleep(0)

    async def purge(store: Store) -> None:
        rules = Retention(history_us=0, actions_us=0, intents_us=0, versions=1)
        position = PurgePosition()
        while left["intents"]:
            position = (await store.purge(rules, position, 200)).position
            await asyncio.sleep(0.005)

    async with asyncio.timeout(30):
        await asyncio.gather(
            *(emit(store) for store in stores * 4),
            *(work(store, f"effect/{n}") for n, store in enumerate(stores * 2)),
            *(purge(store) for store in stores),
        )
    for store in stores:
        await store.close()
    # Sessions that have ended have told the server what they met.
    assert deadlocks(postgres) == before
