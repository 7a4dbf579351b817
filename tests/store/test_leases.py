"""Leases: one holder at a time, fences that only grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onex_grpc.errors import (
    LeaseConflictError,
    LeaseExpiredError,
    LeaseNotFoundError,
    LeaseValidationError,
    StaleFenceError,
)
from onex_grpc.store import Guard, Replayed, Started, Store
from tests.store.builders import (
    KEY,
    TTL,
    WORKFLOW,
    ManualClock,
    action,
    change,
    over_a_restart,
    request,
)

if TYPE_CHECKING:
    from tests.store.conftest import Backend


async def test_acquire_gives_fence_epoch_and_ttl(store: Store) -> None:
    lease = await store.acquire_lease(request("orchestrator/a"))
    assert lease.holder == "orchestrator/a"
    assert lease.fence == 1
    assert lease.epoch == 0
    assert lease.ttl_us == lease.remaining_us == TTL
    assert lease.lease_id


async def test_held_lease_is_a_conflict_with_the_time_left(
    store: Store, clock: ManualClock
) -> None:
    await store.acquire_lease(request("orchestrator/a"))
    clock.forward(10)
    with pytest.raises(LeaseConflictError) as caught:
        await store.acquire_lease(request("orchestrator/b"))
    assert caught.value.retry_after == pytest.approx(20)
    assert caught.value.context["holder"] == "orchestrator/a"


async def test_same_request_gets_the_same_lease(store: Store, clock: ManualClock) -> None:
    first = await store.acquire_lease(request(request_id="r"))
    clock.forward(1)
    again = await store.acquire_lease(request(request_id="r"))
    assert (again.lease_id, again.fence) == (first.lease_id, first.fence)
    assert again.remaining_us == TTL - 1_000_000


async def test_another_holder_cannot_repeat_a_request(store: Store) -> None:
    await store.acquire_lease(request("orchestrator/a", request_id="r"))
    with pytest.raises(LeaseConflictError):
        await store.acquire_lease(request("orchestrator/b", request_id="r"))


async def test_same_holder_takes_over_only_when_it_says_so(store: Store) -> None:
    first = await store.acquire_lease(request())
    with pytest.raises(LeaseConflictError):
        await store.acquire_lease(request())
    second = await store.acquire_lease(request(take_over_own=True))
    assert second.fence > first.fence
    with pytest.raises(LeaseConflictError):
        await store.acquire_lease(request("orchestrator/b", take_over_own=True))


async def test_a_stolen_lease_shuts_its_former_holder_out(store: Store) -> None:
    first = await store.acquire_lease(request("orchestrator/a"))
    stolen = await store.steal_lease(request("operator"))
    assert (stolen.holder, stolen.fence > first.fence) == ("operator", True)
    for attempt in (
        store.commit(change(None, guard=first.guard)),
        store.raise_guard(first.guard),
        store.renew_lease(first.guard),
    ):
        with pytest.raises(StaleFenceError):
            await attempt
    await store.commit(change(0, guard=stolen.guard))
    assert (await store.get_lease(WORKFLOW)).holder == "operator"


async def test_the_same_theft_gets_the_same_lease(store: Store, clock: ManualClock) -> None:
    first = await store.steal_lease(request("operator", request_id="r"))
    again = await store.steal_lease(request("operator", request_id="r"))
    assert again.guard == first.guard
    other = await store.steal_lease(request("operator", request_id="s"))
    assert other.fence > first.fence
    clock.forward(30)
    late = await store.steal_lease(request("operator", request_id="s"))
    assert late.fence > other.fence


async def test_takeover_after_expiry_has_a_higher_fence(store: Store, clock: ManualClock) -> None:
    first = await store.acquire_lease(request("orchestrator/a"))
    clock.forward(30)
    second = await store.acquire_lease(request("orchestrator/b"))
    assert second.fence > first.fence
    with pytest.raises(StaleFenceError):
        await store.renew_lease(first.guard)
    with pytest.raises(StaleFenceError):
        await store.verify_lease(first.guard)


async def test_fences_grow_over_all_workflows(store: Store) -> None:
    fences = [
        (await store.acquire_lease(request(workflow_id=f"w{number}"))).fence for number in range(5)
    ]
    assert fences == sorted(set(fences))


async def test_fence_and_epoch_survive_release_and_takeover(store: Store) -> None:
    first = await store.acquire_lease(request())
    await store.commit(change(0, guard=first.guard))
    assert await store.release_lease(first.guard) == 1
    second = await store.acquire_lease(request("orchestrator/b"))
    assert second.epoch == 1
    assert second.fence > first.fence


async def test_renew_prolongs_by_the_ttl(store: Store, clock: ManualClock) -> None:
    lease = await store.acquire_lease(request())
    clock.forward(20)
    renewed = await store.renew_lease(lease.guard)
    assert renewed.remaining_us == TTL
    clock.forward(20)
    assert (await store.verify_lease(lease.guard)).remaining_us == TTL - 20_000_000


async def test_late_renew_fails_even_if_nobody_took_over(store: Store, clock: ManualClock) -> None:
    lease = await store.acquire_lease(request())
    clock.forward(30)
    with pytest.raises(LeaseExpiredError):
        await store.renew_lease(lease.guard)
    again = await store.acquire_lease(request())
    assert again.fence > lease.fence


async def test_renew_many_tells_of_each(store: Store, clock: ManualClock) -> None:
    live = await store.acquire_lease(request(workflow_id="live"))
    short = await store.acquire_lease(request(workflow_id="short", ttl_us=1_000_000))
    clock.forward(2)
    forged = Guard("live", "forged", live.fence)
    unknown = Guard("never", "x", 1)
    renewed = await store.renew_leases([live.guard, short.guard, forged, unknown])
    assert [lease is not None for lease in renewed] == [True, False, False, False]


async def test_forged_lease_id_is_refused(store: Store) -> None:
    lease = await store.acquire_lease(request())
    forged = Guard(WORKFLOW, "forged", lease.fence)
    for attempt in (store.renew_lease, store.verify_lease, store.release_lease):
        with pytest.raises(LeaseValidationError):
            await attempt(forged)


async def test_fence_that_was_never_issued_is_refused(store: Store) -> None:
    lease = await store.acquire_lease(request())
    ahead = Guard(WORKFLOW, lease.lease_id, lease.fence + 1)
    for attempt in (store.renew_lease, store.verify_lease, store.release_lease):
        with pytest.raises(LeaseValidationError):
            await attempt(ahead)
    with pytest.raises(LeaseValidationError):
        await store.commit(change(0, guard=ahead))


async def test_release_is_idempotent_and_frees_the_lease(store: Store) -> None:
    lease = await store.acquire_lease(request())
    assert await store.release_lease(lease.guard) == 0
    assert await store.release_lease(lease.guard) == 0
    other = await store.acquire_lease(request("orchestrator/b"))
    assert await store.release_lease(lease.guard) == 0
    assert (await store.verify_lease(other.guard)).holder == "orchestrator/b"


async def test_get_lease_shows_the_last_one(store: Store) -> None:
    with pytest.raises(LeaseNotFoundError):
        await store.get_lease(WORKFLOW)
    lease = await store.acquire_lease(request())
    assert (await store.get_lease(WORKFLOW)).fence == lease.fence
    await store.release_lease(lease.guard)
    assert (await store.get_lease(WORKFLOW)).remaining_us == 0


async def test_backward_clock_revives_no_lease_and_stops_none(
    store: Store, clock: ManualClock
) -> None:
    expired = await store.acquire_lease(request(workflow_id="expired", ttl_us=1_000_000))
    running = await store.acquire_lease(request(workflow_id="running"))
    clock.forward(2)
    with pytest.raises(LeaseExpiredError):
        await store.renew_lease(expired.guard)
    clock.forward(-3600)
    with pytest.raises(LeaseExpiredError):
        await store.renew_lease(expired.guard)
    assert (await store.verify_lease(running.guard)).remaining_us <= TTL - 2_000_000
    clock.forward(30)
    with pytest.raises(LeaseExpiredError):
        await store.renew_lease(running.guard)


async def test_forward_clock_ends_leases_early_and_safely(store: Store, clock: ManualClock) -> None:
    lease = await store.acquire_lease(request())
    clock.forward(3600)
    with pytest.raises(LeaseExpiredError):
        await store.commit(change(0, guard=lease.guard))
    assert (await store.acquire_lease(request())).fence > lease.fence


@over_a_restart
async def test_leases_fences_and_time_survive_a_restart(
    backend: Backend, clock: ManualClock
) -> None:
    store = await backend.open()
    lease = await store.acquire_lease(request())
    short = await store.acquire_lease(request(workflow_id="short", ttl_us=1_000_000))
    clock.forward(5)
    assert (await store.renew_lease(lease.guard)).remaining_us == TTL
    await store.close()
    clock.forward(-3600)
    store = await backend.open()
    with pytest.raises(LeaseExpiredError):
        await store.renew_lease(short.guard)
    assert (await store.verify_lease(lease.guard)).remaining_us <= TTL
    assert (await store.acquire_lease(request(workflow_id="new"))).fence > short.fence
    await store.close()


async def test_acquire_and_start_is_one_transaction(store: Store) -> None:
    started = await store.acquire_and_start(request(), change(0, b"s", actions=(action("a"),)))
    assert isinstance(started, Started)
    assert started.version == started.lease.epoch == 1
    assert (await store.get_state(KEY)).state == b"s"
    assert (await store.verify_lease(started.lease.guard)).epoch == 1


async def test_start_of_a_known_action_is_replayed_without_a_lease(store: Store) -> None:
    started = await store.acquire_and_start(
        request(), change(0, actions=(action("a"),), reply=b"reply")
    )
    assert isinstance(started, Started)
    again = await store.acquire_and_start(
        request("orchestrator/b"), change(0, actions=(action("a"),))
    )
    assert isinstance(again, Replayed)
    assert again.action.reply == b"reply"
    assert (await store.get_lease(WORKFLOW)).fence == started.lease.fence


async def test_start_that_fails_leaves_no_lease(store: Store) -> None:
    await store.commit(change(0))
    with pytest.raises(Exception, match="version is 1"):
        await store.acquire_and_start(request(), change(0))
    with pytest.raises(LeaseNotFoundError):
        await store.get_lease(WORKFLOW)
