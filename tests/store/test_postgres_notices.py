"""What one process of a PostgreSQL store tells the others."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from onex_grpc.store import NewEvent
from onex_grpc.store.postgres import open_postgres
from onex_grpc.store.postgres.connection import Connector
from onex_grpc.store.postgres.notices import Notice
from tests.store.builders import SECOND, change, intent

if TYPE_CHECKING:
    from onex_grpc.store import Store
    from tests.store.rivals import Rival
    from tests.store.server import PostgresServer


async def wakes(emitter: Store, worker: Store, name: str) -> None:
    """Returns once an intent of one store has woken a waiting worker of the other."""
    assert await worker.claim_intents("effect/w", 1, SECOND) == []
    waiting = asyncio.ensure_future(worker.wait_intents(None))
    await asyncio.sleep(0)
    await emitter.commit(change(0, key=name, intents=(intent(name),)))
    await asyncio.wait_for(waiting, 5)
    (claimed,) = await worker.claim_intents("effect/w", 1, SECOND)
    assert await worker.complete_intents([claimed.claim_token]) == [True]


async def test_intents_of_one_store_wake_the_other(pair: tuple[Store, Store]) -> None:
    await wakes(pair[0], pair[1], "a")
    await wakes(pair[1], pair[0], "b")


async def test_what_is_ready_wakes_who_takes_its_route(pair: tuple[Store, Store]) -> None:
    for routes in (["a"], ["other", *(f"{n}/" + "long" * 20 for n in range(60))]):
        assert await pair[1].claim_intents("effect/w", 1, SECOND, ["other", *routes]) == []
        waiting = asyncio.ensure_future(pair[1].wait_intents(None, routes))
        other = asyncio.ensure_future(pair[1].wait_intents(None, ["other"]))
        await asyncio.sleep(0)
        await pair[0].commit(change(None, intents=tuple(intent(r, route=r) for r in routes)))
        await asyncio.wait_for(waiting, 5)
        assert other.done() == ("other" in routes)
        claims = await pair[1].claim_intents("effect/w", 100, SECOND, routes)
        assert all(await pair[1].complete_intents([each.claim_token for each in claims]))
        assert len(claims) == len(routes)
        other.cancel()


@pytest.mark.parametrize(
    "told", ["", "x", "5", "null", "[1]", "[]", '{"a": 1}', '["a", 2]', "[" * 7000]
)
def test_a_strange_notice_has_everybody_look(told: str) -> None:
    assert Notice.parse(f"ready {told}") is None
    assert Notice.parse('ready ["a", "\\u00e9"]') == Notice(ready=["a", "é"])


@pytest.mark.parametrize("told", ["", "x", "-1", "1.5", "\u00b2", "\u0661", "9" * 7000, "1\n"])
def test_a_strange_time_has_everybody_look(told: str) -> None:
    assert Notice.parse(f"due {told}") is None
    assert Notice.parse("due 1700000000000000") == Notice(due_us=1_700_000_000_000_000)


async def test_whoever_is_left_wakes_whoever_comes(
    pair: tuple[Store, Store], postgres: PostgresServer, owner: str
) -> None:
    for gone in pair:
        await gone.close()
        async with AsyncExitStack() as opened:
            third = await open_postgres(postgres.address, schema=owner)
            opened.push_async_callback(third.close)
            fourth = await open_postgres(postgres.address, schema=owner)
            opened.push_async_callback(fourth.close)
            await wakes(third, fourth, f"a{id(gone)}")
            await wakes(fourth, third, f"b{id(gone)}")
            if gone is pair[0]:
                await wakes(pair[1], third, f"c{id(gone)}")
                await wakes(fourth, pair[1], f"d{id(gone)}")


async def test_only_a_store_in_company_tells_what_it_commits(
    pair: tuple[Store, Store], rival: Rival, owner: str
) -> None:
    channel = Connector.parse("postgresql://", owner, "").channel
    rival.autocommit = True
    rival.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
    await pair[0].commit(change(0, intents=(intent("a"),)))
    assert [each.payload for each in rival.notifies(timeout=5, stop_after=1)] == ['ready [""]']
    await pair[1].close()
    # The server ends a session some time after the client has.
    company = "(hashtextextended(%s, 5))"
    rival.execute(f"SELECT pg_advisory_lock{company}", (channel,))
    rival.execute(f"SELECT pg_advisory_unlock{company}", (channel,))
    await pair[0].commit(change(1, intents=(intent("b"),)))
    rival.execute("SELECT pg_notify(%s, 'end')", (channel,))
    assert [each.payload for each in rival.notifies(timeout=5, stop_after=1)] == ["end"]


async def test_claim_of_a_store_that_vanishes_wakes_the_other(pair: tuple[Store, Store]) -> None:
    assert await pair[1].claim_intents("effect/w", 1, SECOND) == []
    await pair[0].commit(change(0, intents=(intent("a"),)))
    assert len(await pair[0].claim_intents("effect/v", 1, SECOND // 2)) == 1
    async with asyncio.timeout(5):
        while not (claims := await pair[1].claim_intents("effect/w", 1, 60 * SECOND)):
            await pair[1].wait_intents(None)
    assert claims[0].attempt == 2


async def test_a_time_is_told_although_a_sooner_one_is_about_to_come(
    pair: tuple[Store, Store], rival: Rival, owner: str
) -> None:
    channel = Connector.parse("postgresql://", owner, "").channel
    rival.autocommit = True
    await pair[0].commit(change(0, intents=tuple(intent(name) for name in "abc")))
    rival.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
    for visible in (SECOND // 2, 60 * SECOND, 61 * SECOND):
        assert await pair[0].claim_intents("effect/v", 1, visible)
    rival.execute("SELECT pg_notify(%s, 'end')", (channel,))
    *due, end = [each.payload for each in rival.notifies(timeout=5, stop_after=3)]
    # Who looks at the first time may do so before the second claim is visible; the third is later.
    assert [each.partition(" ")[0] for each in due] == ["due", "due"]
    assert end == "end"


@pytest.mark.parametrize("topic", ["orders", "é" * 512])
async def test_events_of_one_store_wake_the_other(pair: tuple[Store, Store], topic: str) -> None:
    waiting = asyncio.ensure_future(pair[1].wait_events(topic, 0))
    await pair[0].publish_event(NewEvent(topic, "e", b""))
    await asyncio.wait_for(waiting, 5)
