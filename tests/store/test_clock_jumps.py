"""A clock that jumps by an hour while leases, claims and waits run, and while what is over is kept.

PostgreSQL goes by the test's clock here, too; that it asks no other is shown for a store that is
opened as nodes open it. A server whose own clock jumps is in test_server_clock.py.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from onex_grpc.errors import LeaseConflictError, LeaseExpiredError, StaleFenceError
from onex_grpc.store import (
    IdempotencyRecord,
    IntentState,
    NewEvent,
    PurgePosition,
    Retention,
    Store,
    open_store,
)
from onex_grpc.store.retention import FOREVER_US
from tests.store.builders import (
    KEY,
    SECOND,
    TTL,
    WORKFLOW,
    ManualClock,
    change,
    intent,
    over_a_restart,
    request,
    step,
)

if TYPE_CHECKING:
    from tests.store.conftest import Backend
    from tests.store.server import PostgresServer

HOUR = 3600
FOR_EVER = Retention(FOREVER_US, FOREVER_US, FOREVER_US, 1, FOREVER_US, FOREVER_US)


async def test_idle_store_sees_leases_end_after_a_step_back(
    store: Store, clock: ManualClock
) -> None:
    """Without: whoever looks for dead holders, and writes nothing, sees none die for an hour."""
    lease = await store.acquire_lease(request())
    await store.commit(change(0, guard=lease.guard, opened=True))
    clock.forward(-HOUR)
    assert (await store.verify_lease(lease.guard)).remaining_us <= TTL
    clock.forward(31)
    (found,) = await store.list_open("workflow/")
    assert found.lease_remaining_us == 0
    with pytest.raises(LeaseExpiredError):
        await store.verify_lease(lease.guard)
    with pytest.raises(LeaseExpiredError):
        await store.commit(change(None, guard=lease.guard))
    assert (await store.acquire_lease(request("orchestrator/b"))).fence > lease.fence


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
async def test_one_holder_at_a_time_whatever_the_clock_does(
    store: Store, clock: ManualClock, jump: int
) -> None:
    """Without: two holders, each by a clock of its own, both write."""
    first = await store.acquire_lease(request("orchestrator/a"))
    clock.forward(jump)
    if jump < 0:
        with pytest.raises(LeaseConflictError) as conflict:
            await store.acquire_lease(request("orchestrator/b"))
        assert (conflict.value.retry_after or 0) * SECOND <= TTL
        await store.commit(change(None, guard=first.guard))
        clock.forward(31)
    second = await store.acquire_lease(request("orchestrator/b"))
    clock.forward(-max(0, jump))
    with pytest.raises(StaleFenceError):
        await store.commit(change(None, guard=first.guard))
    await store.commit(change(None, guard=second.guard))


async def test_claims_end_once_and_not_an_hour_late(store: Store, clock: ManualClock) -> None:
    """Without: an intent of a dead worker lies until the clock has caught up."""
    await store.commit(change(0, intents=(intent("a"),)))
    (claim,) = await store.claim_intents("effect/a", 1, 10 * SECOND)
    clock.forward(-HOUR)
    assert await store.claim_intents("effect/b", 1, 10 * SECOND) == []
    clock.forward(11)
    (again,) = await store.claim_intents("effect/b", 1, 10 * SECOND)
    assert (again.intent_id, again.attempt) == (claim.intent_id, 2)
    assert await store.complete_intents([claim.claim_token]) == [False]
    clock.forward(HOUR)
    assert await store.complete_intents([again.claim_token]) == [True]


async def test_retries_wait_for_their_time_and_no_longer(store: Store, clock: ManualClock) -> None:
    """Without: a retry waits for an hour and its time."""
    await store.commit(change(0, intents=(intent("a"),)))
    (claim,) = await store.claim_intents("effect/a", 1, 10 * SECOND)
    await store.fail_intent(claim.claim_token, b"", 5 * SECOND)
    clock.forward(-HOUR)
    await asyncio.wait_for(store.wait_intents(0), 5)
    assert await store.claim_intents("effect/a", 1, 10 * SECOND) == []
    clock.forward(6)
    assert len(await store.claim_intents("effect/a", 1, 10 * SECOND)) == 1


async def test_order_of_what_was_emitted_outlives_a_step_back(
    store: Store, clock: ManualClock
) -> None:
    """Without: what is emitted after the step goes ahead of all that waited for an hour."""
    await store.commit(change(0, intents=(intent("earlier"),)))
    clock.forward(-HOUR)
    await store.commit(change(1, intents=(intent("later"),)))
    claims = await store.claim_intents("effect/a", 2, SECOND)
    assert [claim.payload for claim in claims] == [b"earlier", b"later"]


async def test_what_is_kept_for_a_time_is_kept_after_a_step_back(
    store: Store, clock: ManualClock
) -> None:
    """Without: the oldest row is of an hour's future, and nothing behind it is ever removed."""
    await store.record_outcome("before", IdempotencyRecord(b"h", b"r"))
    await store.publish_event(NewEvent("t", "before", b""))
    clock.forward(-HOUR)
    for name in ("after", "last"):
        await store.record_outcome(name, IdempotencyRecord(b"h", b"r"))
        await store.publish_event(NewEvent("t", name, b""))
    rules = replace(FOR_EVER, outcomes_us=10 * SECOND, events_us=10 * SECOND)
    assert (await store.purge(rules, PurgePosition(), 100)).removed == 0
    clock.forward(11)
    assert (await store.purge(rules, PurgePosition(), 100)).removed == 5
    assert len(await store.read_events("t", 2, 10)) == 1


async def test_unfinished_work_is_kept_after_a_step_forward(
    store: Store, clock: ManualClock
) -> None:
    """Without: an hour that never was removes what is still needed."""
    await store.commit(change(0, intents=(intent("waits"), intent("taken")), opened=True))
    await store.claim_intents("effect/a", 1, 10 * SECOND)
    clock.forward(HOUR)
    rules = Retention(SECOND, SECOND, SECOND, 1, SECOND, SECOND)
    await store.purge(rules, PurgePosition(), 100)
    clock.forward(-HOUR)
    assert (await store.get_state(KEY)).version == 1
    assert [row.key for row in await store.list_open("workflow/")] == [KEY]
    stats = await store.queue_stats()
    assert (stats.pending + stats.in_flight, stats.dead) == (2, 0)
    assert len(await store.list_intents(IntentState.PENDING, 0, 10)) >= 1


@over_a_restart
async def test_step_back_while_nobody_has_it_open(backend: Backend, clock: ManualClock) -> None:
    """Without: a restart at an earlier time holds a dead holder's lease for an hour more."""
    store = await backend.open()
    lease = await store.acquire_lease(request())
    await store.close()
    clock.forward(-HOUR)
    store = await backend.open()
    assert (await store.get_lease(WORKFLOW)).remaining_us <= TTL
    clock.forward(31)
    assert (await store.get_lease(WORKFLOW)).remaining_us == 0
    assert (await store.acquire_lease(request("orchestrator/b"))).fence > lease.fence
    await store.close()


async def test_clock_of_a_client_does_not_enter_a_server(
    postgres: PostgresServer, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without: hosts whose clocks differ take each other's leases."""
    store = await open_store(postgres.address, owner=owner)
    lease = await store.acquire_lease(request())
    await store.record_pending(lease.guard, [step("a", left_us=HOUR * SECOND)])
    real, real_ns = time.time, time.time_ns
    for jump in (-HOUR, HOUR):
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda by=jump: real() + by)
            patched.setattr(time, "time_ns", lambda by=jump: real_ns() + by * 10**9)
            assert TTL - 20 * SECOND < (await store.renew_lease(lease.guard)).remaining_us <= TTL
            await store.commit(change(None, guard=lease.guard, intents=(intent(str(jump)),)))
            (found,) = await store.list_pending(WORKFLOW)
            assert HOUR - 60 < (found.left_us or 0) / SECOND <= HOUR
            (claim,) = await store.claim_intents("effect/a", 1, 10 * SECOND)
            assert abs(claim.visible_us - real_ns() // 1000) < 60 * SECOND
            with pytest.raises(LeaseConflictError):
                await store.acquire_lease(request("orchestrator/b"))
    await store.close()
