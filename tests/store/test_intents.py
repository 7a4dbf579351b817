"""The queue: by priority, at least once, in order where asked, dead in the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from onex.v1 import error_pb2
from onex_grpc.errors import AlreadyExistsError, LeaseValidationError, StaleFenceError
from onex_grpc.store import ClaimedIntent, IntentState, NewIntent, Store
from onex_grpc.store.model import Cancellation, Guard, KeptIntent
from tests.store.builders import SECOND, ManualClock, change, intent, over_a_restart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.store.conftest import Backend

VISIBILITY = 10 * SECOND


async def emit(store: Store, *intents: NewIntent) -> None:
    await store.commit(change(None, key="orders/o", intents=intents))


async def claim(store: Store, limit: int = 10) -> Sequence[ClaimedIntent]:
    return await store.claim_intents("effect/worker", limit, VISIBILITY)


def names(claims: Sequence[ClaimedIntent]) -> list[str]:
    return [claim.payload.decode() for claim in claims]


async def test_claim_hands_out_what_was_emitted(store: Store, clock: ManualClock) -> None:
    await emit(store, intent("a", max_attempts=5))
    (claimed,) = await claim(store)
    assert claimed.intent_id == "id-a"
    assert claimed.payload == b"a"
    assert claimed.traceparent == "00-trace"
    assert (claimed.attempt, claimed.max_attempts) == (1, 5)
    assert claimed.visible_us == clock.now_us + VISIBILITY
    assert await claim(store) == []


async def test_priorities_come_in_their_order(store: Store) -> None:
    await emit(store, *(intent(str(priority), priority=priority) for priority in (5, 3, 1, 4, 2)))
    assert names(await claim(store)) == ["1", "2", "3", "4", "5"]


async def test_within_a_priority_the_oldest_comes_first(store: Store, clock: ManualClock) -> None:
    for name in "abc":
        await emit(store, intent(name))
        clock.forward(1)
    assert names(await claim(store, 2)) == ["a", "b"]


async def test_low_priority_is_not_starved(store: Store, clock: ManualClock) -> None:
    await emit(store, intent("background", priority=5))
    for number in range(11):
        clock.forward(60)
        await emit(store, intent(f"critical-{number}", priority=1))
    served = names(await claim(store, 20))
    assert served[:9] == [f"critical-{number}" for number in range(9)]
    assert served[9:] == ["background", "critical-9", "critical-10"]


async def test_no_intent_is_handed_out_twice_at_once(store: Store) -> None:
    await emit(store, *(intent(str(number)) for number in range(100)))
    claims = await asyncio.gather(*(claim(store, 7) for _ in range(20)))
    taken = [name for batch in claims for name in names(batch)]
    assert sorted(taken, key=int) == [str(number) for number in range(100)]


async def test_completed_intent_is_gone(store: Store, clock: ManualClock) -> None:
    await emit(store, intent("a"))
    (claimed,) = await claim(store)
    assert await store.complete_intents([claimed.claim_token]) == [True]
    assert await store.complete_intents([claimed.claim_token]) == [False]
    clock.forward(60)
    assert await claim(store) == []
    (done,) = await store.list_intents(IntentState.COMPLETED, 0, 10)
    assert (done.payload, done.attempts) == (b"a", 1)


async def test_vanished_worker_loses_its_claim(store: Store, clock: ManualClock) -> None:
    await emit(store, intent("a"))
    (first,) = await claim(store)
    clock.forward(10)
    (second,) = await claim(store)
    assert second.attempt == 2
    stale = first.claim_token
    assert await store.complete_intents([stale]) == [False]
    assert await store.extend_intents([stale], VISIBILITY) == [False]
    assert await store.fail_intent(stale, b"error", 0) is None
    await store.release_intents([stale])
    assert await store.complete_intents([second.claim_token]) == [True]


@pytest.mark.parametrize("token", ["", "1", "1.", "x.y", "²." + "0" * 16, "9" * 30 + ".a", "-1.a"])
async def test_foreign_claim_tokens_are_stale(store: Store, token: str) -> None:
    await emit(store, intent("a"))
    await claim(store)
    assert await store.complete_intents([token]) == [False]
    assert await store.fail_intent(token, b"", None) is None


async def test_extended_claim_stays(store: Store, clock: ManualClock) -> None:
    await emit(store, intent("a"))
    (claimed,) = await claim(store)
    clock.forward(9)
    assert await store.extend_intents([claimed.claim_token], VISIBILITY) == [True]
    clock.forward(9)
    assert await claim(store) == []
    clock.forward(1)
    assert names(await claim(store)) == ["a"]


async def test_released_claim_comes_back_at_once_and_does_not_count(store: Store) -> None:
    await emit(store, intent("a"))
    (claimed,) = await claim(store)
    await store.release_intents([claimed.claim_token])
    (again,) = await claim(store)
    assert again.attempt == 1


async def test_what_a_worker_lost_comes_back_and_counts(store: Store) -> None:
    await emit(store, intent("a"), intent("b"), intent("c"))
    held, lost = await claim(store, limit=2)
    await store.claim_intents("effect/other", 1, VISIBILITY)
    await store.take_back_intents("effect/worker", [held.claim_token])
    (again,) = await claim(store)
    assert (again.intent_id, again.attempt) == (lost.intent_id, 2)
    assert await store.complete_intents([held.claim_token, lost.claim_token]) == [True, False]


async def test_a_worker_that_dies_of_an_intent_ends_it(store: Store) -> None:
    await emit(store, intent("a", max_attempts=2))
    for _ in range(2):
        await claim(store)
        await store.take_back_intents("effect/worker", [])
    assert await claim(store) == []
    assert (await store.queue_stats()).dead == 1


async def test_failed_intent_waits_before_its_next_attempt(
    store: Store, clock: ManualClock
) -> None:
    await emit(store, intent("a"))
    (claimed,) = await claim(store)
    state = await store.fail_intent(claimed.claim_token, b"error", 5 * SECOND)
    assert state is IntentState.PENDING
    assert await claim(store) == []
    (waiting,) = await store.list_intents(IntentState.PENDING, 0, 10)
    assert waiting.last_error == b"error"
    clock.forward(5)
    (again,) = await claim(store)
    assert again.attempt == 2


async def test_retry_ranks_behind_what_came_during_its_wait(
    store: Store, clock: ManualClock
) -> None:
    await emit(store, intent("a"))
    (claimed,) = await claim(store)
    await store.fail_intent(claimed.claim_token, b"error", 5 * SECOND)
    clock.forward(1)
    await emit(store, intent("b"))
    clock.forward(4)
    assert names(await claim(store)) == ["b", "a"]


async def test_waiting_intents_do_not_hide_ready_ones(store: Store) -> None:
    await emit(store, *(intent(f"slow-{n}", priority=1) for n in range(200)))
    for claimed in await claim(store, 200):
        await store.fail_intent(claimed.claim_token, b"", 60 * SECOND)
    await emit(store, intent("a", priority=5))
    assert names(await claim(store)) == ["a"]


async def test_last_attempt_ends_in_the_dead_letters(store: Store) -> None:
    await emit(store, intent("a", max_attempts=2))
    (claimed,) = await claim(store)
    assert await store.fail_intent(claimed.claim_token, b"first", 0) is IntentState.PENDING
    (claimed,) = await claim(store)
    assert await store.fail_intent(claimed.claim_token, b"last", 0) is IntentState.DEAD
    (dead,) = await store.list_intents(IntentState.DEAD, 0, 10)
    assert (dead.payload, dead.attempts, dead.last_error) == (b"a", 2, b"last")
    assert await claim(store) == []


async def test_terminal_failure_is_dead_at_once(store: Store) -> None:
    await emit(store, intent("a", max_attempts=9))
    (claimed,) = await claim(store)
    assert await store.fail_intent(claimed.claim_token, b"error", None) is IntentState.DEAD


async def test_poisoned_intent_that_kills_its_workers_dies(
    store: Store, clock: ManualClock
) -> None:
    await emit(store, intent("poison", max_attempts=3))
    for attempt in (1, 2, 3):
        (claimed,) = await claim(store)
        assert claimed.attempt == attempt
        clock.forward(10)
    assert await claim(store) == []
    (dead,) = await store.list_intents(IntentState.DEAD, 0, 10)
    assert error_pb2.ErrorDetail.FromString(dead.last_error).reason == "OUTCOME_UNKNOWN"


async def test_order_key_holds_back_what_came_later(store: Store, clock: ManualClock) -> None:
    await emit(store, intent("1", order_key="o", priority=5), intent("2", order_key="o"))
    await emit(store, intent("3", order_key="o", priority=1), intent("other", order_key="p"))
    first = await claim(store)
    assert sorted(names(first)) == ["1", "other"]
    head = next(c for c in first if c.payload == b"1")
    await store.fail_intent(head.claim_token, b"", 5 * SECOND)
    assert await claim(store) == []
    clock.forward(5)
    for expected in ("1", "2", "3"):
        (claimed,) = await claim(store)
        assert names([claimed]) == [expected]
        await store.complete_intents([claimed.claim_token])
    await emit(store, intent("4", order_key="o"))
    assert names(await claim(store)) == ["4"]


async def test_dead_intent_lets_those_behind_it_go(store: Store, clock: ManualClock) -> None:
    await emit(store, intent("1", order_key="o"), intent("2", order_key="o", max_attempts=1))
    await emit(store, intent("3", order_key="o"))
    (head,) = await claim(store)
    await store.fail_intent(head.claim_token, b"", None)
    assert names(await claim(store)) == ["2"]
    clock.forward(10)
    assert names(await claim(store)) == ["3"]


async def test_stats_count_each_state(store: Store, clock: ManualClock) -> None:
    empty = await store.queue_stats()
    assert (empty.pending, empty.completed, empty.oldest_pending_us) == (0, 0, None)
    await emit(store, *(intent(f"o{n}", order_key="o", priority=5) for n in range(3)))
    await emit(store, *(intent(str(n)) for n in range(4)))
    first, second, third = await claim(store, 3)
    await store.complete_intents([first.claim_token])
    await store.fail_intent(second.claim_token, b"", None)
    await store.fail_intent(third.claim_token, b"", 60 * SECOND)
    await claim(store, 1)
    clock.forward(3)
    stats = await store.queue_stats()
    assert (stats.pending, stats.in_flight, stats.completed, stats.dead) == (4, 1, 1, 1)
    assert stats.oldest_pending_us == 3 * SECOND


async def test_stats_tell_of_each_priority(store: Store, clock: ManualClock) -> None:
    await emit(store, intent("old", priority=5))
    clock.forward(2)
    await emit(store, *(intent(f"{p}{n}", priority=p) for p in (1, 3, 9) for n in range(2)))
    clock.forward(1)
    await claim(store, 2)
    stats = await store.queue_stats()
    assert [
        (row.priority, row.pending, row.in_flight, row.oldest_pending_us)
        for row in stats.priorities
    ] == [
        (1, 0, 2, None),
        (3, 2, 0, SECOND),
        (5, 1, 0, 3 * SECOND),
        (9, 2, 0, SECOND),
    ]
    assert stats.oldest_pending_us == 3 * SECOND


async def test_counts_stay_right_when_an_operation_fails(store: Store) -> None:
    await emit(store, intent("a"))
    same = change(None, key="x", intents=(intent("b"), intent("a")))
    outcomes = await asyncio.gather(
        *(store.commit(same) for _ in range(3)),
        store.commit(change(None, key="y", intents=(intent("c"),))),
        return_exceptions=True,
    )
    assert [isinstance(one, AlreadyExistsError) for one in outcomes] == [True, True, True, False]
    stats = await store.queue_stats()
    assert (stats.pending, stats.in_flight) == (2, 0)


# An operator's hand


async def test_redriven_intent_gets_all_its_attempts_again(
    store: Store, clock: ManualClock
) -> None:
    await emit(store, intent("a", max_attempts=2), intent("b"), intent("c"))
    first, second, _ = await claim(store, 3)
    for claimed in (first, second):
        await store.fail_intent(claimed.claim_token, b"broken", None)
    clock.forward(1)
    assert await store.redrive_intents(["id-a", "id-a", "id-c", "unknown"]) == 1
    (again,) = await claim(store)
    assert (again.payload, again.attempt, again.max_attempts, again.redrives) == (b"a", 1, 2, 1)
    assert first.redrives == 0
    await store.fail_intent(again.claim_token, b"still", 0)
    (last,) = await claim(store)
    assert (last.attempt, last.redrives) == (2, 1)
    assert await store.fail_intent(last.claim_token, b"still", 0) is IntentState.DEAD
    stats = await store.queue_stats()
    assert (stats.pending, stats.in_flight, stats.dead) == (0, 1, 2)


async def test_redrive_of_all_begins_with_the_oldest(store: Store) -> None:
    await emit(store, *(intent(name) for name in "abc"))
    for claimed in await claim(store, 3):
        await store.fail_intent(claimed.claim_token, b"", None)
    assert await store.redrive_dead(2) == 2
    assert names(await claim(store)) == ["a", "b"]
    assert await store.redrive_dead(10) == 1
    assert await store.redrive_dead(10) == 0


async def test_redriven_intent_waits_for_its_order_key(store: Store) -> None:
    await emit(store, *(intent(name, order_key="o") for name in "abc"))
    for _ in "ab":
        (claimed,) = await claim(store)
        await store.fail_intent(claimed.claim_token, b"", None)
    (third,) = await claim(store)
    assert third.payload == b"c"
    assert await store.redrive_intents(["id-b", "id-a"]) == 2
    assert await claim(store) == []
    for name in (b"a", b"b"):
        await store.complete_intents([third.claim_token])
        (third,) = await claim(store)
        assert third.payload == name


async def test_redrive_wakes_who_waits(store: Store) -> None:
    await emit(store, intent("a"))
    (claimed,) = await claim(store)
    await store.fail_intent(claimed.claim_token, b"", None)
    await claim(store)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(store.wait_intents(None))
        await asyncio.sleep(0)
        await store.redrive_dead(1)


async def test_cancelled_intent_is_never_handed_out(store: Store) -> None:
    await emit(store, intent("a"), intent("b", order_key="o"), intent("c", order_key="o"))
    (taken,) = await claim(store, 1)
    kept = KeptIntent("id-a", IntentState.IN_FLIGHT)
    for _ in ("first", "a repeat is told the same"):
        told = await store.cancel_intents(["id-a", "id-b", "unknown", "id-b"])
        assert told == Cancellation(1, (kept,))
    assert names(await claim(store)) == ["c"]
    stats = await store.queue_stats()
    assert (stats.pending, stats.in_flight, stats.cancelled) == (0, 2, 1)
    (cancelled,) = await store.list_intents(IntentState.CANCELLED, 0, 10)
    assert cancelled.payload == b"b"
    assert await store.complete_intents([taken.claim_token]) == [True]


async def test_cancelling_tells_how_far_the_others_are(store: Store) -> None:
    await emit(store, intent("a"), intent("b"), intent("c"), intent("d"))
    done, dead, again, _ = await claim(store)
    await store.complete_intents([done.claim_token])
    await store.fail_intent(dead.claim_token, b"", None)
    await store.fail_intent(again.claim_token, b"", SECOND)
    told = await store.cancel_intents(["id-d", "id-c", "id-b", "id-a"])
    assert told.cancelled == 1
    assert [(kept.intent_id, kept.state) for kept in told.kept] == [
        ("id-d", IntentState.IN_FLIGHT),
        ("id-b", IntentState.DEAD),
        ("id-a", IntentState.COMPLETED),
    ]


async def test_cancelling_checks_and_raises_the_guard(store: Store) -> None:
    await emit(store, intent("a"), intent("b"))
    older, newer = Guard("w", "lease-1", 1), Guard("w", "lease-2", 2)
    assert (await store.cancel_intents(["id-a"], newer)).cancelled == 1
    assert await store.known_fence("w") == newer
    with pytest.raises(StaleFenceError):
        await store.cancel_intents(["id-b"], older)
    with pytest.raises(LeaseValidationError):
        await store.cancel_intents(["id-b"], Guard("w", "forged", 2))
    assert names(await claim(store)) == ["b"]


async def test_wait_ends_when_a_shortened_claim_runs_out(store: Store, clock: ManualClock) -> None:
    await emit(store, intent("a"))
    (claimed,) = await store.claim_intents("effect/worker", 1, 3600 * SECOND)
    await claim(store)
    assert await store.extend_intents([claimed.claim_token], SECOND // 20) == [True]
    async with asyncio.timeout(10):
        await store.wait_intents(None)
    clock.forward(1)
    assert names(await claim(store)) == ["a"]


async def test_five_priorities_share_the_queue_without_starving(
    store: Store, clock: ManualClock
) -> None:
    # Each minute more of each priority come than are taken.
    taken: list[str] = []
    for minute in range(25):
        fresh = (intent(f"{p}.{minute}.{n}", priority=p) for p in range(1, 6) for n in range(2))
        await emit(store, *fresh)
        for claimed in await claim(store, 5):
            taken.append(claimed.payload.decode())
            await store.complete_intents([claimed.claim_token])
        clock.forward(60)
    assert taken[:2] == ["1.0.0", "1.0.1"]
    counts = [sum(name.startswith(f"{p}.") for name in taken) for p in range(1, 6)]
    assert all(counts), counts
    assert counts == sorted(counts, reverse=True)
    # Within a priority the order is that of emission.
    for priority in range(1, 6):
        of_it = [name for name in taken if name.startswith(f"{priority}.")]
        assert of_it == sorted(of_it, key=lambda name: [int(part) for part in name.split(".")])


async def test_lists_go_page_by_page(store: Store) -> None:
    await emit(store, *(intent(f"o{n}", order_key="o") for n in range(3)))
    await emit(store, *(intent(str(n)) for n in range(4)))
    seen: list[bytes] = []
    after = 0
    while page := await store.list_intents(IntentState.PENDING, after, 3):
        seen += [row.payload for row in page]
        after = page[-1].sequence
    assert seen == [b"o0", b"o1", b"o2", b"0", b"1", b"2", b"3"]


@over_a_restart
async def test_queue_survives_a_restart(backend: Backend, clock: ManualClock) -> None:
    store = await backend.open()
    await emit(store, intent("a"), intent("b"))
    (claimed,) = await claim(store, 1)
    await store.close()
    store = await backend.open()
    await asyncio.wait_for(store.wait_intents(None), 5)
    assert names(await claim(store)) == ["b"]
    assert await store.extend_intents([claimed.claim_token], VISIBILITY) == [True]
    assert await store.complete_intents([claimed.claim_token]) == [True]
    await store.close()


async def test_wait_ends_with_the_next_commit(store: Store) -> None:
    assert await claim(store) == []
    waiting = asyncio.create_task(store.wait_intents(None))
    await store.commit(change(None, key="orders/o"))
    assert not waiting.done()
    await emit(store, intent("a"))
    await asyncio.wait_for(waiting, 5)


async def test_wait_does_not_miss_what_came_before_it(store: Store) -> None:
    assert await claim(store) == []
    await emit(store, intent("a"))
    await asyncio.wait_for(store.wait_intents(None), 5)


async def test_wait_goes_on_while_more_may_be_ready(store: Store) -> None:
    await emit(store, intent("a"), intent("b"))
    await claim(store, 1)
    await asyncio.wait_for(store.wait_intents(None), 5)


async def test_wait_ends_when_a_retry_is_due(store: Store, clock: ManualClock) -> None:
    await emit(store, intent("a"))
    (claimed,) = await claim(store)
    assert await claim(store) == []
    waiting = asyncio.create_task(store.wait_intents(None))
    await asyncio.sleep(0)
    await store.fail_intent(claimed.claim_token, b"", 20_000)
    await asyncio.wait_for(waiting, 5)
    clock.forward(0.02)
    assert names(await claim(store)) == ["a"]


async def test_wait_ends_when_an_order_key_is_free(store: Store) -> None:
    await emit(store, intent("1", order_key="o"), intent("2", order_key="o"))
    (claimed,) = await claim(store)
    waiting = asyncio.create_task(store.wait_intents(None))
    await asyncio.sleep(0)
    await store.complete_intents([claimed.claim_token])
    await asyncio.wait_for(waiting, 5)
    assert names(await claim(store)) == ["2"]


async def test_wait_ends_at_its_timeout(store: Store) -> None:
    assert await claim(store) == []
    await asyncio.wait_for(store.wait_intents(0.01), 5)
