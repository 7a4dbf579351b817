"""A PostgreSQL server whose clock jumps by an hour, while leases and claims run by it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import psycopg
import pytest

from onex_grpc.errors import LeaseConflictError, LeaseExpiredError, StaleFenceError
from onex_grpc.store.postgres import open_postgres
from tests.store.builders import SECOND, WORKFLOW, change, intent, request, step
from tests.store.jumping_clock import HOUR, JumpingClock, jumping_clock
from tests.store.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from onex_grpc.store import ClaimedIntent, LeaseGrant, Store


@pytest.fixture(scope="module")
def jumping() -> Iterator[tuple[JumpingClock, PostgresServer]]:
    with jumping_clock() as clock, pytest.MonkeyPatch.context() as patch:
        for name, value in clock.environment.items():
            patch.setenv(name, value)
        server = PostgresServer()
        for name in clock.environment:
            patch.delenv(name)
        yield clock, server
        server.stop()


@pytest.fixture
def clock(jumping: tuple[JumpingClock, PostgresServer]) -> Iterator[JumpingClock]:
    yield jumping[0]
    jumping[0].set(0)


@pytest.fixture
async def pair(
    jumping: tuple[JumpingClock, PostgresServer], clock: JumpingClock, owner: str
) -> AsyncIterator[tuple[Store, Store]]:
    """One store, as two processes have it open."""
    async with AsyncExitStack() as opened:
        stores = []
        for _ in range(2):
            store = await open_postgres(jumping[1].address, schema=owner)
            opened.push_async_callback(store.close)
            stores.append(store)
        yield stores[0], stores[1]


async def taken_over(store: Store) -> LeaseGrant:
    """The lease as soon as the other holder's has ended, within seconds."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await store.acquire_lease(request("orchestrator/b"))
            except LeaseConflictError as conflict:
                await asyncio.sleep(conflict.retry_after or 0)


async def claimed(store: Store) -> ClaimedIntent:
    """The intent as soon as the other's claim has ended, within seconds."""
    async with asyncio.timeout(10):
        while not (claims := await store.claim_intents("effect/b", 1, 30 * SECOND)):
            await store.wait_intents(None)
    return claims[0]


def test_the_servers_clock_jumps(
    jumping: tuple[JumpingClock, PostgresServer], clock: JumpingClock
) -> None:
    clock.set(-HOUR)
    with psycopg.connect(jumping[1].address) as connection:
        row = connection.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
    assert row is not None
    assert abs(float(row[0]) + HOUR - time.time()) < 60


async def test_leases_end_once_and_not_an_hour_late(
    pair: tuple[Store, Store], clock: JumpingClock
) -> None:
    one, two = pair
    lease = await one.acquire_lease(request("orchestrator/a", ttl_us=SECOND))
    clock.set(-HOUR)
    assert (await one.renew_lease(lease.guard)).remaining_us <= SECOND
    new = await taken_over(two)
    assert new.fence > lease.fence
    for jump in (0, HOUR, -HOUR):
        clock.set(jump)
        with pytest.raises(StaleFenceError):
            await one.commit(change(None, guard=lease.guard))


async def test_leases_that_a_jump_ends_stay_ended(
    pair: tuple[Store, Store], clock: JumpingClock
) -> None:
    one, two = pair
    lease = await one.acquire_lease(request("orchestrator/a"))
    clock.set(HOUR)
    with pytest.raises(LeaseExpiredError):
        await one.commit(change(None, guard=lease.guard))
    new = await two.acquire_lease(request("orchestrator/b"))
    clock.set(0)
    await two.commit(change(None, guard=new.guard))
    with pytest.raises(StaleFenceError):
        await one.renew_lease(lease.guard)
    with pytest.raises(LeaseConflictError):
        await one.acquire_lease(request("orchestrator/a"))


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
async def test_claims_end_once_and_not_an_hour_late(
    pair: tuple[Store, Store], clock: JumpingClock, jump: int
) -> None:
    one, two = pair
    await one.commit(change(0, intents=(intent("a"),)))
    (claim,) = await one.claim_intents("effect/a", 1, SECOND)
    clock.set(jump)
    again = await claimed(two)
    assert (again.intent_id, again.attempt) == (claim.intent_id, 2)
    clock.set(0)
    assert await one.complete_intents([claim.claim_token]) == [False]
    assert await two.complete_intents([again.claim_token]) == [True]


async def test_a_step_back_gives_a_pending_step_no_time_again(
    pair: tuple[Store, Store], clock: JumpingClock
) -> None:
    one, two = pair
    lease = await one.acquire_lease(request())
    await one.record_pending(lease.guard, [step("a", left_us=120 * SECOND, retry_us=0)])
    clock.set(-HOUR)
    left = [(await store.list_pending(WORKFLOW))[0].left_us or 0 for store in (one, two, one)]
    assert all(0 < each <= 120 * SECOND for each in left)
    await one.record_pending(lease.guard, [step("b", left_us=120 * SECOND)])
    first, second = await two.list_pending(WORKFLOW)
    assert (first.left_us or 0) <= (second.left_us or 0) <= 120 * SECOND
