"""Removal of what is over, in portions; what may still be needed stays."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from onex_grpc.errors import EventPositionExpiredError
from onex_grpc.store import (
    Checkpoint,
    Exact,
    IdempotencyRecord,
    IntentState,
    NewEvent,
    PurgePosition,
    Retention,
    Store,
)
from onex_grpc.store.retention import FOREVER_US
from tests.store.builders import (
    KEY,
    SECOND,
    WORKFLOW,
    ManualClock,
    action,
    change,
    intent,
    over_a_restart,
)

if TYPE_CHECKING:
    from tests.store.conftest import Backend

FOR_EVER = Retention(FOREVER_US, FOREVER_US, FOREVER_US, 1, FOREVER_US, FOREVER_US)
AGE = 10 * SECOND
OUTCOME = IdempotencyRecord(b"hash", b"reply")


async def sweep(store: Store, retention: Retention, limit: int = 3) -> int:
    """Removes all that is over; returns how much."""
    position, removed = PurgePosition(), 0
    for _ in range(1000):
        purged = await store.purge(retention, position, limit)
        removed += purged.removed
        position = purged.position
        if purged.done:
            return removed
    raise AssertionError("the sweep does not end")


async def test_finished_intents_go_and_others_stay(store: Store, clock: ManualClock) -> None:
    await store.commit(change(None, key="o", intents=tuple(intent(str(n)) for n in range(8))))
    done = await store.claim_intents("effect/a", 5, 3600 * SECOND)
    await store.fail_intent(done[4].claim_token, b"", None)
    await store.complete_intents([claim.claim_token for claim in done[:3]])
    await store.cancel_intents(["id-5"])
    clock.forward(5)
    await store.complete_intents([done[3].claim_token])
    clock.forward(6)
    rules = replace(FOR_EVER, intents_us=AGE)
    assert await sweep(store, rules) == 4
    listed = {
        state: [row.payload for row in await store.list_intents(state, 0, 10)]
        for state in IntentState
    }
    assert listed == {
        IntentState.PENDING: [b"6", b"7"],
        IntentState.IN_FLIGHT: [],
        IntentState.COMPLETED: [b"3"],
        IntentState.DEAD: [b"4"],
        IntentState.CANCELLED: [],
    }
    stats = await store.queue_stats()
    assert (stats.completed, stats.cancelled, stats.dead, stats.pending) == (4, 1, 1, 2)
    clock.forward(20)
    assert await sweep(store, rules) == 1
    assert await sweep(store, rules) == 0


async def test_numbers_are_not_issued_again(store: Store, clock: ManualClock) -> None:
    for number in range(3):
        name = str(number)
        await store.publish_event(NewEvent("t", name, b""))
        await store.commit(change(None, key="o", intents=(intent(name),)))
        (claim,) = await store.claim_intents("effect/a", 1, SECOND)
        await store.complete_intents([claim.claim_token])
        clock.forward(20)
        await sweep(store, replace(FOR_EVER, intents_us=AGE, events_us=AGE))
    (event,) = await store.read_events("t", 2, 10)
    (row,) = await store.list_intents(IntentState.COMPLETED, 0, 10)
    assert (event.sequence, row.sequence) == (3, 3)


async def test_old_events_go(store: Store, clock: ManualClock) -> None:
    for number in range(5):
        await store.publish_event(NewEvent("ab"[number % 2], str(number), b""))
        clock.forward(4)
    assert await sweep(store, replace(FOR_EVER, events_us=AGE), limit=2) == 3
    assert [row.sequence for row in await store.read_events("a", 3, 9)] == [5]
    assert [row.sequence for row in await store.read_events("b", 2, 9)] == [4]
    assert await store.event_span("a") == (3, 5, 5, 5)
    assert await store.event_span("b") == (2, 4, 4, 5)


async def test_events_that_are_gone_are_not_passed_over(store: Store, clock: ManualClock) -> None:
    for number in range(6):
        await store.publish_event(NewEvent("ab"[number == 1], str(number), b""))
        clock.forward(4)
    await sweep(store, replace(FOR_EVER, events_us=AGE))
    # Of a, 1, 3 and 4 are gone, and 5 and 6 are there.
    for after in (0, 1, 2, 3):
        with pytest.raises(EventPositionExpiredError) as refused:
            await store.read_events("a", after, 9)
        assert refused.value.context["first_available"] == "5"
    assert [row.sequence for row in await store.read_events("a", 4, 9)] == [5, 6]
    # Of b nothing is left, and who has seen its last event has missed none.
    with pytest.raises(EventPositionExpiredError) as refused:
        await store.read_events("b", 1, 9)
    assert refused.value.context["first_available"] == "3"
    assert await store.read_events("b", 2, 9) == []


async def test_a_wait_ends_with_an_event_that_is_gone_already(
    store: Store, clock: ManualClock
) -> None:
    await store.publish_event(NewEvent("a", "1", b""))
    await store.publish_event(NewEvent("b", "2", b""))
    clock.forward(20)
    await sweep(store, replace(FOR_EVER, events_us=AGE))
    assert (await store.event_span("a")).head == 0
    await asyncio.wait_for(store.wait_events("a", 0), 10)


@over_a_restart
async def test_what_is_gone_is_known_after_a_restart(backend: Backend, clock: ManualClock) -> None:
    store = await backend.open()
    for number in range(3):
        await store.publish_event(NewEvent("t", str(number), b""))
        clock.forward(4)
    await sweep(store, replace(FOR_EVER, events_us=AGE), limit=1)
    await store.close()
    store = await backend.open()
    with pytest.raises(EventPositionExpiredError):
        await store.read_events("t", 0, 9)
    assert [row.sequence for row in await store.read_events("t", 1, 9)] == [2, 3]
    await store.close()


async def test_history_keeps_the_newest_and_what_is_pinned(
    store: Store, clock: ManualClock
) -> None:
    for version in range(4):
        await store.commit(change(version))
        await store.commit(change(version, key="other"))
    await store.checkpoint(Checkpoint(KEY, "four", Exact(4)))
    clock.forward(20)
    for version in range(4, 8):
        await store.commit(change(version))
    rules = replace(FOR_EVER, history_us=AGE, versions=2)
    assert await sweep(store, rules) == 4
    assert [e.version for e in await store.list_history(KEY, 0, 20)] == [3, 4, 5, 6, 7, 8]
    clock.forward(20)
    assert await sweep(store, rules) == 3
    assert [e.version for e in await store.list_history(KEY, 0, 20)] == [4, 7, 8]
    assert [e.version for e in await store.list_history("other", 0, 20)] == [3, 4]
    assert (await store.get_state(KEY)).version == 8


async def test_actions_of_open_workflows_and_beginnings_stay(
    store: Store, clock: ManualClock
) -> None:
    start, step = action("start"), replace(action("step"), action_type=2)
    await store.commit(change(0, actions=(start, step), opened=True))
    await store.commit(change(0, key="o", actions=(action("free", scope="reducer/o"),)))
    await store.commit(change(1, key="o", actions=(action("last", scope="reducer/o"),)))
    clock.forward(20)
    rules = replace(FOR_EVER, actions_us=AGE)
    assert await sweep(store, rules) == 1
    assert await store.find_action("reducer/o", "free") is None
    assert await store.find_action(WORKFLOW, "step") is not None
    await store.commit(change(1, actions=(action("end"),), opened=False))
    assert await sweep(store, rules) == 2
    found = [await store.find_action(WORKFLOW, name) for name in ("start", "step", "end")]
    assert [one is not None for one in found] == [True, False, True]


async def test_old_outcomes_go(store: Store, clock: ManualClock) -> None:
    for name in "abcd":
        await store.record_outcome(name, OUTCOME)
        clock.forward(5)
    assert await sweep(store, replace(FOR_EVER, outcomes_us=AGE + SECOND), limit=1) == 2
    found = [await store.find_outcome(name) is not None for name in "abcd"]
    assert found == [False, False, True, True]


async def test_a_portion_is_small_and_goes_on(store: Store, clock: ManualClock) -> None:
    for number in range(7):
        await store.record_outcome(str(number), OUTCOME)
        await store.commit(change(number))
    clock.forward(20)
    rules = replace(FOR_EVER, outcomes_us=AGE, history_us=AGE)
    first = await store.purge(rules, PurgePosition(), 4)
    assert (first.removed, first.done) == (4 + 3, False)
    second = await store.purge(rules, first.position, 4)
    assert (second.removed, second.done) == (3 + 3, True)


async def test_by_default_nothing_young_goes(store: Store, clock: ManualClock) -> None:
    await store.record_outcome("a", OUTCOME)
    await store.publish_event(NewEvent("t", "e", b""))
    for version in range(3):
        await store.commit(change(version, actions=(action(str(version)),)))
    clock.forward(86_400 * 6.9)
    assert await sweep(store, Retention()) == 0


@over_a_restart
async def test_counts_outlive_what_they_counted(backend: Backend, clock: ManualClock) -> None:
    store = await backend.open()
    await store.commit(change(None, key="o", intents=tuple(intent(str(n)) for n in range(3))))
    for claim in await store.claim_intents("effect/a", 3, SECOND):
        await store.complete_intents([claim.claim_token])
    clock.forward(20)
    assert await sweep(store, replace(FOR_EVER, intents_us=AGE)) == 2
    await store.close()
    store = await backend.open()
    assert (await store.queue_stats()).completed == 3
    await store.close()
