"""The one writer of state: replay, then guard, then version, all or nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from onex_grpc.errors import (
    AlreadyExistsError,
    EpochMismatchError,
    LeaseExpiredError,
    LeaseValidationError,
    StaleFenceError,
)
from onex_grpc.store import Committed, Guard, Replayed, StateRow, Store
from tests.store.builders import (
    KEY,
    WORKFLOW,
    ManualClock,
    action,
    change,
    intent,
    over_a_restart,
    request,
)

if TYPE_CHECKING:
    from tests.store.conftest import Backend

ENTITY = "orders/o1"


async def test_version_counts_each_change(store: Store) -> None:
    assert await store.get_state(KEY) == StateRow(0, b"", "")
    assert await store.commit(change(0, b"one")) == Committed(1)
    assert await store.commit(change(1, b"two")) == Committed(2)
    assert await store.get_state(KEY) == StateRow(2, b"two", "test.State")


async def test_other_version_writes_nothing(store: Store) -> None:
    await store.commit(change(0, b"one"))
    with pytest.raises(EpochMismatchError) as caught:
        await store.commit(change(0, b"two", intents=(intent("i"),), actions=(action("a"),)))
    assert caught.value.context["current"] == "1"
    assert (await store.get_state(KEY)).state == b"one"
    assert (await store.queue_stats()).pending == 0
    assert await store.find_action(WORKFLOW, "a") is None


async def test_state_intents_and_action_are_one_commit(store: Store) -> None:
    await store.commit(change(0, intents=(intent("i"),), actions=(action("a"),), reply=b"reply"))
    known = await store.find_action(WORKFLOW, "a")
    assert known is not None
    assert (known.reply, known.error, known.epoch, known.request) == (b"reply", b"", 1, b"request")
    assert (await store.queue_stats()).pending == 1


async def test_failure_after_the_state_was_written_takes_it_back(store: Store) -> None:
    await store.commit(change(0, intents=(intent("same"),)))
    with pytest.raises(AlreadyExistsError):
        await store.commit(change(1, b"two", intents=(intent("new"), intent("same"))))
    assert (await store.get_state(KEY)).version == 1
    assert (await store.queue_stats()).pending == 1


async def test_replay_comes_before_fence_and_version(store: Store, clock: ManualClock) -> None:
    lease = await store.acquire_lease(request("orchestrator/a"))
    first = change(0, guard=lease.guard, actions=(action("a"),), reply=b"reply")
    await store.commit(first)
    clock.forward(30)
    await store.acquire_lease(request("orchestrator/b"))
    replayed = await store.commit(first)
    assert isinstance(replayed, Replayed)
    assert (replayed.action.reply, replayed.action.epoch) == (b"reply", 1)


async def test_known_action_with_other_content_is_refused(store: Store) -> None:
    await store.commit(change(0, actions=(action("a", "this"),)))
    with pytest.raises(AlreadyExistsError):
        await store.commit(change(1, actions=(action("a", "that"),)))
    assert (await store.get_state(KEY)).version == 1


async def test_action_ids_are_unique_in_their_scope_only(store: Store) -> None:
    await store.commit(change(0, actions=(action("a", "this"),)))
    other = change(0, key="workflow/w2", actions=(action("a", "that", scope="w2"),))
    assert await store.commit(other) == Committed(1)


async def test_same_action_at_the_same_time_is_executed_once(store: Store) -> None:
    same = change(0, actions=(action("a"),), reply=b"reply")
    outcomes = await asyncio.gather(*(store.commit(same) for _ in range(8)))
    assert sum(isinstance(outcome, Committed) for outcome in outcomes) == 1
    assert (await store.get_state(KEY)).version == 1


async def test_recorded_failure_is_replayed(store: Store) -> None:
    await store.record_failure(action("a"), b"error", None)
    await store.record_failure(action("a"), b"later error", None)
    replayed = await store.commit(change(0, actions=(action("a"),)))
    assert isinstance(replayed, Replayed)
    assert replayed.action.error == b"error"
    with pytest.raises(AlreadyExistsError):
        await store.record_failure(action("a", "other"), b"error", None)


async def test_failure_is_recorded_only_by_the_holder(store: Store, clock: ManualClock) -> None:
    old = await store.acquire_lease(request("orchestrator/a"))
    clock.forward(30)
    await store.acquire_lease(request("orchestrator/b"))
    with pytest.raises(StaleFenceError):
        await store.record_failure(action("a"), b"error", old.guard)
    assert await store.find_action(WORKFLOW, "a") is None


async def test_stale_fence_writes_nothing(store: Store) -> None:
    await store.commit(change(0, b"new", key=ENTITY, guard=Guard(WORKFLOW, "new", 7)))
    with pytest.raises(StaleFenceError):
        await store.commit(change(1, b"old", key=ENTITY, guard=Guard(WORKFLOW, "old", 6)))
    assert (await store.get_state(ENTITY)).state == b"new"


async def test_stale_fence_is_refused_at_every_key_of_the_workflow(store: Store) -> None:
    await store.commit(change(0, key="orders/o1", guard=Guard(WORKFLOW, "new", 7)))
    with pytest.raises(StaleFenceError):
        await store.commit(change(0, key="stock/s1", guard=Guard(WORKFLOW, "old", 6)))


async def test_same_fence_with_another_lease_id_is_refused(store: Store) -> None:
    await store.commit(change(0, key=ENTITY, guard=Guard(WORKFLOW, "this", 7)))
    with pytest.raises(LeaseValidationError):
        await store.commit(change(1, key=ENTITY, guard=Guard(WORKFLOW, "that", 7)))


async def test_guard_is_not_raised_by_a_write_that_fails(store: Store) -> None:
    with pytest.raises(EpochMismatchError):
        await store.commit(change(5, key=ENTITY, guard=Guard(WORKFLOW, "new", 7)))
    assert await store.known_fence(WORKFLOW) is None
    assert await store.commit(change(0, key=ENTITY, guard=Guard(WORKFLOW, "old", 6))) == Committed(
        1
    )


async def test_guard_raised_before_an_effect_holds_for_writes(store: Store) -> None:
    assert await store.known_fence(WORKFLOW) is None
    await store.raise_guard(Guard(WORKFLOW, "new", 7))
    await store.raise_guard(Guard(WORKFLOW, "new", 7))
    assert await store.known_fence(WORKFLOW) == Guard(WORKFLOW, "new", 7)
    with pytest.raises(StaleFenceError):
        await store.raise_guard(Guard(WORKFLOW, "old", 6))
    with pytest.raises(LeaseValidationError):
        await store.raise_guard(Guard(WORKFLOW, "forged", 7))
    with pytest.raises(LeaseValidationError):
        await store.raise_guard(Guard(WORKFLOW, "absurd", 2**64 - 1))
    with pytest.raises(StaleFenceError):
        await store.commit(change(0, key=ENTITY, guard=Guard(WORKFLOW, "old", 6)))


async def test_issuer_refuses_writes_under_an_ended_lease(store: Store, clock: ManualClock) -> None:
    lease = await store.acquire_lease(request())
    await store.commit(change(0, guard=lease.guard))
    clock.forward(30)
    with pytest.raises(LeaseExpiredError):
        await store.commit(change(1, guard=lease.guard))
    again = await store.acquire_lease(request())
    await store.release_lease(again.guard)
    with pytest.raises(LeaseExpiredError):
        await store.commit(change(1, guard=again.guard))
    assert (await store.get_state(KEY)).version == 1


async def test_commit_can_release_its_lease(store: Store) -> None:
    lease = await store.acquire_lease(request())
    await store.commit(change(0, guard=lease.guard, release=True))
    with pytest.raises(LeaseExpiredError):
        await store.verify_lease(lease.guard)
    assert (await store.acquire_lease(request("orchestrator/b"))).epoch == 1


async def test_release_in_a_commit_that_fails_keeps_the_lease(store: Store) -> None:
    lease = await store.acquire_lease(request())
    with pytest.raises(EpochMismatchError):
        await store.commit(change(3, guard=lease.guard, release=True))
    assert (await store.verify_lease(lease.guard)).fence == lease.fence


async def test_parallel_folds_of_the_holder_all_count(store: Store) -> None:
    lease = await store.acquire_lease(request())
    folds = [
        store.commit(change(None, b"%d" % n, guard=lease.guard, actions=(action(f"a{n}"),)))
        for n in range(20)
    ]
    outcomes = await asyncio.gather(*folds)
    assert sorted(o.version for o in outcomes if isinstance(o, Committed)) == list(range(1, 21))


async def test_open_work_is_listed_with_its_holder(store: Store, clock: ManualClock) -> None:
    lease = await store.acquire_lease(request("orchestrator/a"))
    await store.commit(change(0, guard=lease.guard, opened=True))
    await store.commit(change(0, key="workflow/w2", opened=True))
    await store.commit(change(0, key="workflow/w3"))
    await store.commit(change(0, key="other/w4", opened=True))
    clock.forward(10)
    held, free = await store.list_open("workflow/")
    assert (held.key, held.holder, held.lease_remaining_us) == (KEY, "orchestrator/a", 20_000_000)
    assert (free.key, free.holder, free.lease_remaining_us) == ("workflow/w2", "", 0)
    await store.commit(change(1, guard=lease.guard))
    assert len(await store.list_open("workflow/")) == 2
    await store.commit(change(2, guard=lease.guard, opened=False))
    assert [work.key for work in await store.list_open("workflow/")] == ["workflow/w2"]


@over_a_restart
async def test_state_and_actions_survive_a_restart(backend: Backend) -> None:
    store = await backend.open()
    await store.commit(change(0, b"one", actions=(action("a"),), reply=b"reply", opened=True))
    await store.close()
    store = await backend.open()
    assert (await store.get_state(KEY)).state == b"one"
    assert await store.find_action(WORKFLOW, "a") is not None
    assert len(await store.list_open("workflow/")) == 1
    await store.close()


async def test_acknowledged_commit_is_seen_by_every_later_read(store: Store) -> None:
    for version in range(200):
        await store.commit(change(version))
        assert (await store.get_state(KEY)).version == version + 1
