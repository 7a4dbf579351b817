"""Several processes that write into one PostgreSQL store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from onex_grpc.errors import LeaseConflictError, LeaseExpiredError, StaleFenceError
from onex_grpc.store import (
    Checkpoint,
    Committed,
    Exact,
    FenceOnly,
    Guard,
    IntentState,
    NewEvent,
    PurgePosition,
    Replayed,
    Retention,
    Rollback,
)
from onex_grpc.store.postgres.clock import ServerClock
from tests.store.builders import KEY, SECOND, WORKFLOW, action, change, intent, request
from tests.store.rivals import Rival, blocked

if TYPE_CHECKING:
    from onex_grpc.store import Store


async def test_fence_is_checked_under_the_lock_of_its_row(
    pair: tuple[Store, Store], rival: Rival
) -> None:
    store, _ = pair
    lease = await store.acquire_lease(request())
    rival.execute("UPDATE workflow SET fence = fence + 1, lease_id = 'taken over'")
    writing = asyncio.ensure_future(store.commit(change(0, guard=lease.guard)))
    await blocked(rival)
    rival.commit()
    with pytest.raises(StaleFenceError):
        await writing
    assert (await store.get_state(KEY)).version == 0


async def test_first_guard_of_a_workflow_is_checked_against_a_rival(
    pair: tuple[Store, Store], rival: Rival
) -> None:
    store, _ = pair
    rival.execute("INSERT INTO workflow VALUES (%s, 7, 'newer')", (WORKFLOW,))
    writing = asyncio.ensure_future(store.commit(change(0, guard=Guard(WORKFLOW, "older", 6))))
    await blocked(rival)
    rival.commit()
    with pytest.raises(StaleFenceError):
        await writing


async def test_time_goes_on_while_a_lock_is_waited_for(
    pair: tuple[Store, Store], rival: Rival
) -> None:
    store, _ = pair
    lease = await store.acquire_lease(request(ttl_us=SECOND // 2))
    rival.execute("SELECT * FROM workflow FOR UPDATE")
    renewing = asyncio.ensure_future(store.renew_lease(lease.guard))
    await blocked(rival)
    rival.execute("SELECT pg_sleep(0.6)")
    rival.commit()
    with pytest.raises(LeaseExpiredError):
        await renewing


async def test_repeat_that_met_its_own_first_run_is_replayed(
    pair: tuple[Store, Store], rival: Rival
) -> None:
    one, other = pair
    await one.commit(change(0, b"first"))
    same = change(1, b"second", actions=(action("a"),), reply=b"reply")
    rival.execute("SELECT * FROM state FOR UPDATE")
    running = [asyncio.ensure_future(store.commit(same)) for store in (one, other)]
    await blocked(rival)
    rival.commit()
    outcomes = await asyncio.gather(*running)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Committed", "Replayed"]
    assert (await one.get_state(KEY)).version == 2


async def test_same_new_action_on_two_stores_is_executed_once(pair: tuple[Store, Store]) -> None:
    for number in range(20):
        same = change(0, key=f"k{number}", actions=(action(f"a{number}"),), reply=b"reply")
        outcomes = await asyncio.gather(*(store.commit(same) for store in pair))
        assert sorted(type(outcome) is Replayed for outcome in outcomes) == [False, True]


async def test_reader_of_events_misses_none(pair: tuple[Store, Store]) -> None:
    async def publish(store: Store, name: str) -> None:
        for number in range(50):
            await store.publish_event(NewEvent("t", f"{name}{number}", b""))

    async def follow() -> int:
        after = seen = 0
        while seen < 100:
            await pair[0].wait_events("t", after)
            for event in await pair[0].read_events("t", after, 7):
                after = event.sequence
                seen += 1
        return seen

    following = asyncio.ensure_future(follow())
    await asyncio.gather(publish(pair[0], "a"), publish(pair[1], "b"))
    assert await asyncio.wait_for(following, 20) == 100


async def test_two_stores_claim_each_intent_once(pair: tuple[Store, Store]) -> None:
    await pair[0].commit(change(0, intents=tuple(intent(str(n)) for n in range(200))))
    claims = await asyncio.gather(
        *(pair[n % 2].claim_intents(f"effect/{n}", 7, 60 * SECOND) for n in range(40))
    )
    assert all(len(claim) <= 7 for claim in claims)
    taken = [claim.intent_id for batch in claims for claim in batch]
    assert sorted(taken) == sorted(f"id-{n}" for n in range(200))


async def test_counts_of_two_stores_add_up(pair: tuple[Store, Store]) -> None:
    async def work(store: Store, number: int) -> None:
        for step in range(10):
            name = f"{number}.{step}"
            await store.commit(change(None, key=f"o{number}", intents=(intent(name),)))
            claims = await store.claim_intents(f"effect/{number}", 2, SECOND)
            done = claims[: len(claims) - step % 2]
            await store.complete_intents([claim.claim_token for claim in done])
            for claim in claims[len(done) :]:
                await store.fail_intent(claim.claim_token, b"", None)
            if step == 5:
                await store.redrive_dead(1)

    await asyncio.gather(*(work(store, number) for number, store in enumerate(pair * 2)))
    stats = await pair[0].queue_stats()
    assert await pair[1].queue_stats() == stats
    shown = {
        state: len(await pair[0].list_intents(state, 0, 1000))
        for state in (IntentState.PENDING, IntentState.IN_FLIGHT, IntentState.DEAD)
    }
    assert (stats.pending, stats.in_flight, stats.dead) == tuple(shown.values())
    assert stats.completed == len(await pair[0].list_intents(IntentState.COMPLETED, 0, 1000))


async def test_dead_intents_are_redriven_once_by_two_stores(pair: tuple[Store, Store]) -> None:
    await pair[0].commit(change(0, intents=tuple(intent(str(n)) for n in range(20))))
    for claim in await pair[0].claim_intents("effect/a", 20, SECOND):
        await pair[0].fail_intent(claim.claim_token, b"", None)
    redriven = await asyncio.gather(*(store.redrive_dead(20) for store in pair * 3))
    assert sum(redriven) == 20
    claims = await pair[1].claim_intents("effect/b", 30, SECOND)
    assert [claim.redrives for claim in claims] == [1] * 20


async def test_rollback_and_commits_of_two_stores_take_turns(pair: tuple[Store, Store]) -> None:
    one, two = pair
    await one.commit(change(0, b"first"))
    await one.checkpoint(Checkpoint(KEY, "first", Exact(1)))
    outcomes = await asyncio.gather(
        *(one.rollback(Rollback(KEY, "first", FenceOnly())) for _ in range(5)),
        *(two.commit(change(None, b"other")) for _ in range(5)),
        *(two.checkpoint(Checkpoint(KEY, "first", Exact(1))) for _ in range(3)),
        return_exceptions=True,
    )
    versions = sorted(one.version for one in outcomes[:10] if isinstance(one, Committed))
    assert versions == list(range(2, 12))
    entries = await one.list_history(KEY, 0, 100)
    assert sorted(entry.state for entry in entries) == [b"first"] * 6 + [b"other"] * 5


async def test_two_stores_purge_side_by_side(pair: tuple[Store, Store]) -> None:
    for version in range(30):
        await pair[0].commit(change(version, actions=(action(str(version), scope="reducer/o"),)))
    rules = Retention(history_us=0, actions_us=0)
    await asyncio.gather(*(store.purge(rules, PurgePosition(), 100) for store in pair * 2))
    assert [entry.version for entry in await pair[1].list_history(KEY, 0, 100)] == [30]
    assert len(await pair[1].list_actions("reducer/o", 0, 100)) == 1


async def test_order_key_never_blocks_for_ever_between_two_stores(
    pair: tuple[Store, Store],
) -> None:
    async def emit() -> None:
        for number in range(60):
            await pair[0].commit(
                change(None, key="o", intents=(intent(str(number), order_key="o"),))
            )

    emitting = asyncio.ensure_future(emit())
    served: list[str] = []
    async with asyncio.timeout(20):
        while len(served) < 60:
            for claimed in await pair[1].claim_intents("effect/w", 5, 60 * SECOND):
                served.append(claimed.payload.decode())
                await pair[1].complete_intents([claimed.claim_token])
    await emitting
    assert served == [str(number) for number in range(60)]


async def test_fences_grow_over_two_stores(pair: tuple[Store, Store]) -> None:
    fences = []
    for number in range(10):
        lease = await pair[number % 2].acquire_lease(request())
        await pair[number % 2].release_lease(lease.guard)
        fences.append(lease.fence)
    assert fences == sorted(set(fences))


async def test_one_holder_at_a_time_over_two_stores(pair: tuple[Store, Store]) -> None:
    for number in range(20):
        wishes = [
            store.acquire_lease(request(f"orchestrator/{n}", workflow_id=f"w{number}"))
            for n, store in enumerate(pair)
        ]
        outcomes = await asyncio.gather(*wishes, return_exceptions=True)
        assert sum(isinstance(outcome, LeaseConflictError) for outcome in outcomes) == 1


async def test_opposite_orders_end_without_a_failure(pair: tuple[Store, Store]) -> None:
    leases = [await pair[0].acquire_lease(request(workflow_id=f"w{n}")) for n in range(20)]
    guards = [lease.guard for lease in leases]
    commits = [
        store.commit(change(None, key=f"k{n}", guard=guard))
        for store, order in ((pair[0], guards), (pair[1], guards[::-1]))
        for n, guard in enumerate(order)
    ]
    renewals = [
        store.renew_leases(guards[::step]) for store, step in zip(pair, (1, -1), strict=True)
    ]
    assert all(type(done) is Committed for done in await asyncio.gather(*commits))
    assert all(grant is not None for many in await asyncio.gather(*renewals) for grant in many)


def test_time_that_steps_back_is_made_up_for_once() -> None:
    first, second = ServerClock(None), ServerClock(None)
    assert not any(first.step_back(0, 0, 1000 * SECOND))
    assert not any(second.step_back(0, 0, 1001 * SECOND))
    offset, wall, known = first.step_back(1001 * SECOND, 0, 401 * SECOND)
    assert (wall, known) == (401 * SECOND, 0)
    for clock in (first, second):
        assert not any(clock.step_back(wall, offset, 402 * SECOND))
        assert 1001 * SECOND < clock.now_us < 1003 * SECOND
