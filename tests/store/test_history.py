"""History: every version with who wrote it, checkpoints, rollback, pruning, the audit trail."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from onex_grpc.errors import (
    AlreadyExistsError,
    EpochMismatchError,
    HistoryNotFoundError,
    LeaseExpiredError,
    StaleFenceError,
)
from onex_grpc.store import (
    Checkpoint,
    Committed,
    Exact,
    FenceOnly,
    Guard,
    IntentState,
    Replayed,
    Rollback,
    StateRow,
    Store,
)
from tests.store.builders import (
    KEY,
    SECOND,
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


async def write(store: Store, versions: int, *, key: str = KEY, start: int = 0) -> None:
    """Versions whose contents are their numbers."""
    for version in range(start, start + versions):
        await store.commit(change(version, b"%d" % (version + 1), key=key))


async def kept(store: Store, key: str = KEY) -> list[int]:
    return [entry.version for entry in await store.list_history(key, 0, 1000)]


# History


async def test_history_tells_who_wrote_what_and_when(store: Store, clock: ManualClock) -> None:
    lease = await store.acquire_lease(request("orchestrator/a"))
    by = replace(action("a1"), parent_action_id="a0", fence=lease.fence, lease_id=lease.lease_id)
    await store.commit(change(0, b"one", guard=lease.guard, actions=(by,)))
    clock.forward(1)
    await store.commit(change(1, b"two"))
    first, second = await store.list_history(KEY, 0, 10)
    assert (first.version, first.kind, first.state, first.state_type) == (
        1,
        "TEST",
        b"one",
        "test.State",
    )
    assert (first.holder, first.fence, first.lease_id) == (
        "orchestrator/a",
        lease.fence,
        lease.lease_id,
    )
    assert (first.action_id, first.parent_action_id) == ("a1", "a0")
    assert (second.holder, second.fence, second.lease_id, second.action_id) == ("", 0, "", "")
    assert second.written_us - first.written_us == SECOND


async def test_holder_of_another_store_is_known_by_fence_only(store: Store) -> None:
    guard = Guard("elsewhere", "lease", 7)
    await store.commit(change(0, key="orders/o1", guard=guard))
    await store.commit(change(1, key="orders/o1", guard=guard))
    for entry in await store.list_history("orders/o1", 0, 10):
        assert (entry.holder, entry.fence, entry.lease_id) == ("", 7, "lease")


async def test_history_is_read_page_by_page(store: Store) -> None:
    await write(store, 5)
    await write(store, 2, key="other")
    pages = [[e.version for e in await store.list_history(KEY, after, 2)] for after in (0, 2, 4, 5)]
    assert pages == [[1, 2], [3, 4], [5], []]
    assert await store.list_history(KEY, 0, 0) == []
    assert await store.list_history("unknown", 0, 10) == []


async def test_version_is_found_again(store: Store) -> None:
    await write(store, 3)
    assert await store.get_state_at(KEY, 2) == StateRow(2, b"2", "test.State")
    for missing in (0, 4, "name"):
        with pytest.raises(HistoryNotFoundError):
            await store.get_state_at(KEY, missing)


@over_a_restart
async def test_history_outlives_a_restart(backend: Backend) -> None:
    store = await backend.open()
    await write(store, 2)
    await store.checkpoint(Checkpoint(KEY, "good", Exact(2)))
    await store.close()
    store = await backend.open()
    entries = await store.list_history(KEY, 0, 10)
    assert [(e.state, e.checkpoints) for e in entries] == [(b"1", ()), (b"2", ("good",))]
    await store.close()


# The audit trail


async def test_audit_trail_tells_of_successes_and_failures(
    store: Store, clock: ManualClock
) -> None:
    lease = await store.acquire_lease(request("orchestrator/a"))
    by = replace(
        action("a1"), parent_action_id="a0", fence=lease.fence, lease_id=lease.lease_id, epoch=0
    )
    await store.commit(change(0, guard=lease.guard, actions=(by,), reply=b"ok"))
    clock.forward(1)
    failed = replace(by, action_id="a2", epoch=1)
    await store.record_failure(failed, b"broken", lease.guard)
    await store.commit(change(0, key="x", actions=(action("a1", scope="other"),)))
    one, two = await store.list_actions(WORKFLOW, 0, 10)
    assert (one.action_id, one.epoch, one.basis, one.error) == ("a1", 1, 0, b"")
    assert (two.action_id, two.epoch, two.basis, two.error) == ("a2", 1, 1, b"broken")
    for logged in (one, two):
        assert (logged.holder, logged.fence, logged.lease_id) == (
            "orchestrator/a",
            lease.fence,
            lease.lease_id,
        )
        assert (logged.parent_action_id, logged.target) == ("a0", "reducer/orders")
        assert (logged.correlation_id, logged.action_type, logged.issued_us) == ("c", 1, 5)
    assert two.finished_us - one.finished_us == SECOND


async def test_audit_trail_is_read_page_by_page(store: Store) -> None:
    names = [f"a{number}" for number in (3, 1, 2, 5, 4)]
    for version, name in enumerate(names):
        await store.commit(change(version, actions=(action(name),)))
    seen: list[str] = []
    after = 0
    while page := await store.list_actions(WORKFLOW, after, 2):
        assert len(page) <= 2
        seen += [logged.action_id for logged in page]
        after = page[-1].sequence
    assert seen == names


# Checkpoints


async def test_checkpoint_pins_without_a_new_version(store: Store) -> None:
    await write(store, 2)
    pin = Checkpoint(KEY, "good", Exact(2), actions=(action("a"),), reply=b"ok")
    assert await store.checkpoint(pin) == Committed(2)
    assert (await store.get_state(KEY)).version == 2
    assert (await store.get_state_at(KEY, "good")).state == b"2"
    again = await store.checkpoint(pin)
    assert isinstance(again, Replayed)
    assert (again.action.reply, again.action.epoch) == (b"ok", 2)


async def test_checkpoint_checks_as_a_commit_does(store: Store, clock: ManualClock) -> None:
    lease = await store.acquire_lease(request())
    await store.commit(change(0, guard=lease.guard))
    with pytest.raises(EpochMismatchError):
        await store.checkpoint(Checkpoint(KEY, "n", Exact(0), lease.guard))
    clock.forward(30)
    with pytest.raises(LeaseExpiredError):
        await store.checkpoint(Checkpoint(KEY, "n", Exact(1), lease.guard))
    await store.acquire_lease(request("orchestrator/b"))
    with pytest.raises(StaleFenceError):
        await store.checkpoint(Checkpoint(KEY, "n", FenceOnly(), lease.guard))
    with pytest.raises(HistoryNotFoundError):
        await store.get_state_at(KEY, "n")


async def test_name_of_a_checkpoint_stays_with_its_version(store: Store) -> None:
    with pytest.raises(HistoryNotFoundError):
        await store.checkpoint(Checkpoint(KEY, "n", FenceOnly()))
    await write(store, 1)
    for _ in range(2):
        await store.checkpoint(Checkpoint(KEY, "n", Exact(1)))
    await write(store, 1, start=1)
    with pytest.raises(AlreadyExistsError, match="version 1"):
        await store.checkpoint(Checkpoint(KEY, "n", Exact(2)))
    await write(store, 1, key="other")
    await store.checkpoint(Checkpoint("other", "n", Exact(1)))


# Rollback


@pytest.mark.parametrize("to", [1, "first"])
async def test_rollback_writes_old_content_as_a_new_version(store: Store, to: int | str) -> None:
    await write(store, 1)
    await store.checkpoint(Checkpoint(KEY, "first", Exact(1)))
    await write(store, 2, start=1)
    back = Rollback(KEY, to, Exact(3), kind="BACK", actions=(action("a"),), reply=b"ok")
    assert await store.rollback(back) == Committed(4)
    assert await store.get_state(KEY) == StateRow(4, b"1", "test.State")
    assert isinstance(await store.rollback(back), Replayed)
    entries = await store.list_history(KEY, 0, 10)
    assert [(e.state, e.kind) for e in entries][-2:] == [(b"3", "TEST"), (b"1", "BACK")]
    assert entries[-1].action_id == "a"


async def test_rollback_checks_as_a_commit_does(store: Store) -> None:
    first = await store.acquire_lease(request())
    await store.commit(change(0, guard=first.guard))
    with pytest.raises(EpochMismatchError):
        await store.rollback(Rollback(KEY, 1, Exact(0), first.guard))
    with pytest.raises(HistoryNotFoundError):
        await store.rollback(Rollback(KEY, 2, Exact(1), first.guard))
    await store.steal_lease(request("operator"))
    with pytest.raises(StaleFenceError):
        await store.rollback(Rollback(KEY, 1, FenceOnly(), first.guard))
    assert (await store.get_state(KEY)).version == 1


async def test_rollback_may_rewrite_what_it_goes_back_to(store: Store) -> None:
    await store.commit(change(0, b"1"))
    await store.commit(change(1, b"2"))
    await store.rollback(Rollback(KEY, 1, Exact(2), rewritten=b"1, again"))
    assert (await store.get_state(KEY)).state == b"1, again"
    with pytest.raises(HistoryNotFoundError):
        await store.rollback(Rollback(KEY, 9, Exact(3), rewritten=b"x"))


async def test_rollback_leaves_intents_alone(store: Store) -> None:
    await store.commit(change(0))
    await store.commit(change(1, intents=(intent("a"),)))
    await store.rollback(Rollback(KEY, 1, Exact(2)))
    assert len(await store.list_intents(IntentState.PENDING, 0, 10)) == 1


# Pruning


async def test_pruning_keeps_checkpoints_and_the_newest(store: Store, clock: ManualClock) -> None:
    await write(store, 3)
    await store.checkpoint(Checkpoint(KEY, "three", Exact(3)))
    await write(store, 7, start=3)
    clock.forward(1)
    assert await store.prune_history(KEY, 2, 0) == 7
    assert await kept(store) == [3, 9, 10]
    assert await store.prune_history(KEY, 2, 0) == 0
    assert (await store.get_state(KEY)).state == b"10"
    assert (await store.get_state_at(KEY, "three")).state == b"3"
    with pytest.raises(HistoryNotFoundError):
        await store.rollback(Rollback(KEY, 4, FenceOnly()))
    assert await store.rollback(Rollback(KEY, "three", Exact(10))) == Committed(11)


async def test_pruning_keeps_what_is_young(store: Store, clock: ManualClock) -> None:
    await write(store, 3)
    clock.forward(10)
    await write(store, 3, start=3)
    clock.forward(5)
    assert await store.prune_history(KEY, 1, 7 * SECOND) == 2
    assert await kept(store) == [3, 4, 5, 6]
    assert await store.prune_history(KEY, 0, 0) == 3
    assert await kept(store) == [6]
    assert await store.prune_history("unknown", 1, 0) == 0
