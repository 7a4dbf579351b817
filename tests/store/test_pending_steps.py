"""Steps that were sent and have not ended: recorded under the lease, and read by anybody."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from onex_grpc.errors import LeaseExpiredError, LeaseValidationError, StaleFenceError
from onex_grpc.store import (
    Guard,
    LeaseGrant,
    PendingStep,
    PurgePosition,
    Retention,
    Started,
    Store,
    open_store,
)
from onex_grpc.store.sqlite.backup import restore
from onex_grpc.store.sqlite.store import SqliteStore
from tests.store.builders import (
    KEY,
    SECOND,
    TTL,
    WORKFLOW,
    ManualClock,
    change,
    over_a_restart,
    request,
    step,
)
from tests.store.test_purging import FOR_EVER, sweep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.store.conftest import Backend
    from tests.store.rivals import Rival

HOUR = 3600


async def begun(store: Store, workflow_id: str = WORKFLOW) -> LeaseGrant:
    """The lease of a workflow that has begun."""
    first = change(0, key=f"workflow/{workflow_id}", opened=True)
    started = await store.acquire_and_start(request(workflow_id=workflow_id), first)
    assert isinstance(started, Started)
    return started.lease


async def ids(store: Store, workflow_id: str = WORKFLOW) -> list[str]:
    """The actions of a workflow's pending steps."""
    return [each.action_id for each in await store.list_pending(workflow_id)]


async def test_a_step_is_read_as_it_was_recorded(store: Store) -> None:
    lease = await begun(store)
    full = PendingStep("a", "charge", "effect/bank", 3, 7, 60 * SECOND, 2 * SECOND, b"error")
    plain = PendingStep("b", "tax", "compute", 1, 8)
    await store.record_pending(lease.guard, [full, plain])
    assert list(await store.list_pending(WORKFLOW)) == [full, plain]
    assert list(await store.list_pending("other")) == []


async def test_a_record_takes_the_place_of_the_one_before(store: Store) -> None:
    lease = await begun(store)
    await store.record_pending(lease.guard, [step("a"), step("b"), step("c")])
    again = PendingStep("a", "moved", "effect/other", 9, 99, 5 * SECOND, None, b"later")
    await store.record_pending(lease.guard, [step("d"), again])
    assert await ids(store) == ["a", "b", "c", "d"]
    assert (await store.list_pending(WORKFLOW))[0] == again


async def test_steps_that_have_ended_are_forgotten(store: Store) -> None:
    lease = await begun(store)
    await store.record_pending(lease.guard, [step(name) for name in "abc"])
    await store.record_pending(lease.guard, [step("d")], ["a", "c", "unknown", "a"])
    assert await ids(store) == ["b", "d"]
    await store.record_pending(lease.guard, [step("a")])
    assert await ids(store) == ["b", "d", "a"]
    await store.record_pending(lease.guard, (), ["a", "b", "d"])
    assert await ids(store) == []


async def test_an_action_that_is_named_twice(store: Store) -> None:
    lease = await begun(store)
    await store.record_pending(lease.guard, [step("a"), step("b"), step("a", attempts=7)])
    assert [(each.action_id, each.attempts) for each in await store.list_pending(WORKFLOW)] == [
        ("a", 7),
        ("b", 1),
    ]
    await store.record_pending(lease.guard, [step("b"), step("c")], ["b"])
    assert await ids(store) == ["a", "c"]


async def test_workflows_do_not_see_each_others_steps(store: Store) -> None:
    first, second = await begun(store), await begun(store, "w2")
    await store.record_pending(first.guard, [step("a"), step("b")])
    await store.record_pending(second.guard, [step("a", attempts=5)])
    await store.record_pending(first.guard, (), ["a"])
    assert await ids(store) == ["b"]
    assert [each.attempts for each in await store.list_pending("w2")] == [5]


async def test_the_epoch_stays(store: Store) -> None:
    lease = await begun(store)
    await store.record_pending(lease.guard, [step("a")])
    assert (await store.get_state(KEY)).version == lease.epoch == 1
    assert len(await store.list_history(KEY, 0, 9)) == 1
    await store.commit(change(1, guard=lease.guard))


async def expired(store: Store, clock: ManualClock, guard: Guard) -> Guard:
    clock.forward(TTL / SECOND + 1)
    return guard


async def released(store: Store, clock: ManualClock, guard: Guard) -> Guard:
    await store.release_lease(guard)
    return guard


async def taken_over(store: Store, clock: ManualClock, guard: Guard) -> Guard:
    await store.steal_lease(request("orchestrator/b"))
    return guard


async def of_another_id(store: Store, clock: ManualClock, guard: Guard) -> Guard:
    return replace(guard, lease_id="forged")


async def of_the_future(store: Store, clock: ManualClock, guard: Guard) -> Guard:
    return replace(guard, fence=guard.fence + 1)


@pytest.mark.parametrize(
    ("spoil", "refusal"),
    [
        (expired, LeaseExpiredError),
        (released, LeaseExpiredError),
        (taken_over, StaleFenceError),
        (of_another_id, LeaseValidationError),
        (of_the_future, LeaseValidationError),
    ],
)
async def test_a_refused_guard_writes_nothing(
    store: Store,
    clock: ManualClock,
    spoil: Callable[[Store, ManualClock, Guard], Awaitable[Guard]],
    refusal: type[Exception],
) -> None:
    lease = await begun(store)
    await store.record_pending(lease.guard, [step("a")])
    bad = await spoil(store, clock, lease.guard)
    for steps, ended in (([step("b")], ()), ([step("a", attempts=9)], ()), ([], ["a"]), ([], [])):
        with pytest.raises(refusal):
            await store.record_pending(bad, steps, ended)
        with pytest.raises(refusal):
            await store.commit(change(None, guard=bad))
    assert [(each.action_id, each.attempts) for each in await store.list_pending(WORKFLOW)] == [
        ("a", 1)
    ]


async def test_the_next_holder_goes_on_from_what_was_recorded(
    store: Store, clock: ManualClock
) -> None:
    lease = await begun(store)
    await store.record_pending(lease.guard, [step("a", attempts=4, left_us=60 * SECOND)])
    clock.forward(TTL / SECOND + 1)
    taken = await store.acquire_lease(request("orchestrator/b"))
    (found,) = await store.list_pending(WORKFLOW)
    assert (found.attempts, found.left_us) == (4, 29 * SECOND)
    await store.record_pending(taken.guard, [step("b")], ["a"])
    assert await ids(store) == ["b"]


async def test_a_lease_of_another_store_guards_as_in_a_commit(store: Store) -> None:
    elsewhere = Guard("elsewhere", "lease", 5)
    await store.record_pending(elsewhere, [step("a")])
    assert await store.known_fence("elsewhere") == elsewhere
    with pytest.raises(StaleFenceError):
        await store.record_pending(replace(elsewhere, fence=4), [step("b")])
    assert await ids(store, "elsewhere") == ["a"]


async def test_durations_run_down_to_nothing(store: Store, clock: ManualClock) -> None:
    lease = await begun(store)
    timed = step("a", left_us=10 * SECOND, retry_us=3 * SECOND)
    await store.record_pending(lease.guard, [timed, step("b")])
    seen = []
    for seconds in (2, 2, 100):
        clock.forward(seconds)
        first, second = await store.list_pending(WORKFLOW)
        seen.append((first.left_us, first.retry_us))
        assert (second.left_us, second.retry_us) == (None, None)
    assert seen == [(8 * SECOND, SECOND), (6 * SECOND, 0), (0, 0)]


@pytest.mark.parametrize("given", [-5, 0, 2**62, 2**63 - 1, 2**80])
async def test_durations_out_of_the_ordinary(store: Store, clock: ManualClock, given: int) -> None:
    lease = await begun(store)
    await store.record_pending(lease.guard, [step("a", left_us=given, retry_us=given)])
    (found,) = await store.list_pending(WORKFLOW)
    assert found.left_us == found.retry_us
    assert found.left_us in (max(0, given), 2**63 - 1 - clock.now_us)


async def test_a_step_back_of_the_clock_gives_no_time_again(
    store: Store, clock: ManualClock
) -> None:
    """Without: a step that is to end in ten seconds ends in an hour and ten seconds."""
    lease = await begun(store)
    await store.record_pending(lease.guard, [step("a", left_us=10 * SECOND, retry_us=5 * SECOND)])
    clock.forward(-HOUR)
    (found,) = await store.list_pending(WORKFLOW)
    assert 9 * SECOND < (found.left_us or 0) <= 10 * SECOND
    clock.forward(4)
    (found,) = await store.list_pending(WORKFLOW)
    assert 5 * SECOND < (found.left_us or 0) <= 6 * SECOND
    assert 0 < (found.retry_us or 0) <= SECOND


@over_a_restart
@pytest.mark.parametrize("jump", [0, -HOUR])
async def test_a_restart_begins_nothing_anew(
    backend: Backend, clock: ManualClock, jump: int
) -> None:
    store = await backend.open()
    lease = await begun(store)
    timed = step("b", attempts=6, left_us=20 * SECOND, retry_us=9 * SECOND)
    await store.record_pending(lease.guard, [step("z"), timed, step("a")])
    clock.forward(4)
    # An idle store keeps no time while nobody has it open; a write does.
    await store.record_pending(lease.guard, [step("z")])
    await store.close()
    clock.forward(jump)
    store = await backend.open()
    assert await ids(store) == ["z", "b", "a"]
    found = (await store.list_pending(WORKFLOW))[1]
    assert (found.attempts, found.issued_us) == (6, timed.issued_us)
    assert 15 * SECOND < (found.left_us or 0) <= 16 * SECOND
    assert 4 * SECOND < (found.retry_us or 0) <= 5 * SECOND
    await store.record_pending(lease.guard, [step("c")], ["z"])
    assert await ids(store) == ["b", "a", "c"]
    await store.close()


async def test_a_thousand_steps_of_one_workflow(store: Store) -> None:
    lease = await begun(store)
    names = [f"{number * 7919 % 1000:03}" for number in range(1000)]
    for start in range(0, 1000, 250):
        await store.record_pending(lease.guard, [step(n) for n in names[start : start + 250]])
    assert await ids(store) == names
    await store.record_pending(lease.guard, [step(n, attempts=2) for n in names], names[::2])
    found = await store.list_pending(WORKFLOW)
    assert [each.action_id for each in found] == names[1::2]
    assert {each.attempts for each in found} == {2}


async def test_leftovers_go_and_steps_of_open_workflows_stay(
    store: Store, clock: ManualClock
) -> None:
    going, ending = await begun(store), await begun(store, "w2")
    await store.record_pending(ending.guard, [step(name) for name in "abcd"])
    await store.record_pending(going.guard, [step(name) for name in "abcde"])
    await store.record_pending(Guard("elsewhere", "lease", 5), [step("a")])
    await store.commit(change(1, key="workflow/w2", guard=ending.guard, opened=False, release=True))
    clock.forward(HOUR)
    assert await sweep(store, FOR_EVER) == 5
    assert await ids(store) == list("abcde")
    assert await ids(store, "w2") == await ids(store, "elsewhere") == []
    assert await sweep(store, FOR_EVER) == 0


async def test_nothing_of_an_open_workflow_is_too_old_to_stay(
    store: Store, clock: ManualClock
) -> None:
    lease = await begun(store)
    await store.record_pending(lease.guard, [step("a")])
    clock.forward(100 * 24 * HOUR)
    await sweep(store, Retention(0, 0, 0, 1, 0, 0))
    assert await ids(store) == ["a"]


async def test_a_portion_of_leftovers_is_small_and_the_next_sweep_looks_again(
    store: Store,
) -> None:
    lease = await begun(store)
    await store.record_pending(lease.guard, [step(name) for name in "abcdefg"])
    first = await store.purge(FOR_EVER, PurgePosition(), 4)
    assert (first.removed, first.done) == (0, False)
    second = await store.purge(FOR_EVER, first.position, 4)
    assert (second.removed, second.done) == (0, True)
    await store.commit(change(1, guard=lease.guard, opened=False))
    third = await store.purge(FOR_EVER, second.position, 4)
    assert (third.removed, third.done, await ids(store)) == (4, False, list("efg"))
    fourth = await store.purge(FOR_EVER, third.position, 4)
    assert (fourth.removed, fourth.done, await ids(store)) == (3, True, [])


async def test_a_workflow_that_is_opened_again_keeps_what_it_records(store: Store) -> None:
    lease = await begun(store)
    await store.record_pending(lease.guard, [step("before")])
    await store.commit(change(1, guard=lease.guard, opened=False))
    await sweep(store, FOR_EVER)
    await store.commit(change(2, guard=lease.guard, opened=True))
    await store.record_pending(lease.guard, [step("after")])
    assert await sweep(store, FOR_EVER) == 0
    assert await ids(store) == ["after"]


async def test_other_replicas_read_them_and_a_former_holder_is_refused(
    pair: tuple[Store, Store],
) -> None:
    one, other = pair
    lease = await begun(one)
    await one.record_pending(lease.guard, [step("a", left_us=TTL)])
    (found,) = await other.list_pending(WORKFLOW)
    assert 0 < (found.left_us or 0) <= TTL
    taken = await other.steal_lease(request("orchestrator/b"))
    await other.record_pending(taken.guard, [step("b")])
    with pytest.raises(StaleFenceError):
        await one.record_pending(lease.guard, [step("c")], ["a", "b"])
    assert await ids(one) == await ids(other) == ["a", "b"]


async def test_a_sweep_does_not_wait_for_a_writer(pair: tuple[Store, Store], rival: Rival) -> None:
    store = pair[0]
    lease = await begun(store)
    await store.record_pending(lease.guard, [step("a"), step("b")])
    await store.commit(change(1, guard=lease.guard, opened=False))
    rival.execute("SELECT 1 FROM pending_steps WHERE action_id = 'a' FOR UPDATE")
    async with asyncio.timeout(20):
        await sweep(store, FOR_EVER)
    assert await ids(store) == ["a"]
    rival.rollback()
    await sweep(store, FOR_EVER)
    assert await ids(store) == []


async def test_a_backup_has_them(tmp_path: Path, clock: ManualClock) -> None:
    path, copy = tmp_path / "s.db", tmp_path / "copy.db"
    store = await open_store(path, clock=clock)
    assert isinstance(store, SqliteStore)
    lease = await begun(store)
    await store.record_pending(lease.guard, [step("a", attempts=3, left_us=9 * SECOND)])
    await store.backup_to(copy)
    await store.record_pending(lease.guard, [step("b")], ["a"])
    await store.close()
    restore(copy, path)
    clock.forward(2)
    store = await open_store(path, clock=clock)
    (found,) = await store.list_pending(WORKFLOW)
    assert (found.action_id, found.attempts) == ("a", 3)
    assert found.left_us is not None
    assert found.left_us <= 7 * SECOND
    with pytest.raises((LeaseExpiredError, StaleFenceError)):
        await store.record_pending(lease.guard, [step("c")])
    await store.close()
