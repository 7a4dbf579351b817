"""Routes of the queue: a worker gets what it can do, and nothing else keeps it waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from onex_grpc.store.queue_rules import LOOKED_AT
from tests.store.builders import SECOND, ManualClock, change, intent, over_a_restart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store import ClaimedIntent, NewIntent, QueueStats, Store
    from tests.store.conftest import Backend

VISIBILITY = 10 * SECOND


async def emit(store: Store, *intents: NewIntent) -> None:
    await store.commit(change(None, key="orders/o", intents=intents))


async def claim(store: Store, *accepts: str, limit: int = 10) -> Sequence[ClaimedIntent]:
    return await store.claim_intents("effect/worker", limit, VISIBILITY, accepts)


def names(claims: Sequence[ClaimedIntent]) -> list[str]:
    return [claim.payload.decode() for claim in claims]


def waiter(store: Store, *accepts: str) -> asyncio.Task[None]:
    return asyncio.create_task(store.wait_intents(None, accepts))


async def test_worker_gets_only_what_it_accepts(store: Store) -> None:
    await emit(store, *(intent(f"{r}{n}", route=r) for n in range(2) for r in "abc"))
    assert names(await claim(store, "a", "c")) == ["a0", "c0", "a1", "c1"]
    assert names(await claim(store, "a", "c")) == []
    assert names(await claim(store, "b", "unknown")) == ["b0", "b1"]


async def test_who_names_no_route_gets_all(store: Store) -> None:
    await emit(store, *(intent(r or "any", route=r) for r in ("b", "", "a")))
    assert names(await claim(store)) == ["b", "any", "a"]


async def test_intent_without_a_route_is_for_anybody(store: Store) -> None:
    await emit(store, intent("any"), intent("a", route="a"))
    assert names(await claim(store, "b")) == ["any"]
    assert names(await claim(store, "a")) == ["a"]


async def test_rank_counts_across_routes(store: Store, clock: ManualClock) -> None:
    for n in range(3):
        await emit(
            store, *(intent(f"{r}{p}{n}", route=r, priority=p) for r in "ab" for p in (5, 1))
        )
        clock.forward(1)
    expected = [f"{r}{p}{n}" for p in (1, 5) for n in range(3) for r in "ab"]
    assert names(await claim(store, "b", "a", limit=5)) == expected[:5]
    assert names(await claim(store, limit=5)) == expected[5:10]
    assert names(await claim(store, "b", "a", limit=5)) == expected[10:]


async def test_limit_is_kept_over_many_routes(store: Store) -> None:
    routes = [f"r{n}" for n in range(250)]
    await emit(store, *(intent(route, route=route) for route in routes))
    taken = names(await claim(store, *routes, limit=7))
    assert taken == routes[:7]
    assert names(await claim(store, *routes[:100], limit=1000)) == routes[7:100]
    assert names(await claim(store, limit=20)) == routes[100:120]
    assert names(await claim(store, *routes, limit=1000)) == routes[120:]


async def test_no_intent_is_handed_out_twice_over_overlapping_routes(store: Store) -> None:
    await emit(store, *(intent(str(n), route="abc"[n % 3]) for n in range(120)))
    wanted = (("a",), ("a", "b"), ("b", "c"), (), ("c", "a"))
    claims = await asyncio.gather(
        *(claim(store, *wanted[n % 5], limit=7) for n in range(40)),
    )
    rest = await claim(store, limit=120)
    taken = [name for batch in (*claims, rest) for name in names(batch)]
    assert sorted(taken, key=int) == [str(n) for n in range(120)]


async def test_order_key_holds_across_routes(store: Store) -> None:
    await emit(store, intent("1", order_key="o", route="a"), intent("2", order_key="o", route="b"))
    assert names(await claim(store, "b")) == []
    waiting = waiter(store, "b")
    (first,) = await claim(store, "a")
    assert not waiting.done()
    await store.complete_intents([first.claim_token])
    await asyncio.wait_for(waiting, 5)
    assert names(await claim(store, "a")) == []
    assert names(await claim(store, "b")) == ["2"]


# Traps


async def test_unserved_route_does_not_starve_the_others(store: Store, clock: ManualClock) -> None:
    await emit(store, *(intent(f"u{n}", route="unserved", priority=1) for n in range(500)))
    clock.forward(3600)
    await emit(store, intent("background", route="served", priority=5))
    assert names(await claim(store, "served")) == ["background"]
    stats = await store.queue_stats()
    assert (stats.pending, stats.in_flight) == (500, 1)
    assert stats.oldest_pending_us == 3600 * SECOND


async def test_served_route_does_not_starve_another_of_its_worker(
    store: Store, clock: ManualClock
) -> None:
    await emit(store, intent("old", route="b", priority=5))
    for number in range(11):
        clock.forward(60)
        await emit(store, intent(f"critical-{number}", route="a", priority=1))
    served = names(await claim(store, "a", "b", limit=20))
    assert served[9:] == ["old", "critical-9", "critical-10"]


async def test_unserved_route_wakes_nobody_else(store: Store) -> None:
    assert await claim(store, "a") == []
    waiting = waiter(store, "a")
    await emit(store, intent("u", route="unserved"))
    await store.wait_intents(None, ("unserved",))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.05)
    await emit(store, intent("a", route="a"))
    await asyncio.wait_for(waiting, 5)
    assert names(await claim(store, "a")) == ["a"]
    # What is left is for others: the next wait must not end at once, or the worker would spin.
    assert await claim(store, "a") == []
    again = waiter(store, "a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(again, 0.05)


async def test_claim_for_one_route_hides_no_other(store: Store) -> None:
    await emit(store, intent("a", route="a"), intent("b", route="b"))
    assert names(await claim(store, "a")) == ["a"]
    assert await claim(store, "a") == []
    await asyncio.wait_for(store.wait_intents(None, ("b", "c")), 5)
    await asyncio.wait_for(store.wait_intents(None), 5)
    assert names(await claim(store, "b", "c")) == ["b"]


async def test_who_takes_everything_is_woken_by_any_route(store: Store) -> None:
    assert await claim(store) == []
    waiting = waiter(store)
    await emit(store, intent("x", route="new"))
    await asyncio.wait_for(waiting, 5)
    assert names(await claim(store)) == ["x"]


async def test_what_comes_back_wakes_its_route(store: Store, clock: ManualClock) -> None:
    """Each way by which an intent becomes ready again."""
    for name in ("released", "lost", "dead"):
        await emit(store, intent(name, route="a"))
        (claimed,) = await claim(store, "a")
        if name == "dead":
            await store.fail_intent(claimed.claim_token, b"", None)
        assert await claim(store, "a") == []
        waiting = waiter(store, "a")
        await asyncio.sleep(0)
        if name == "released":
            await store.release_intents([claimed.claim_token])
        elif name == "lost":
            await store.take_back_intents("effect/worker", [])
        else:
            await store.redrive_dead(1)
        await asyncio.wait_for(waiting, 5)
        (again,) = await claim(store, "a")
        assert await store.complete_intents([again.claim_token]) == [True]


async def test_wait_that_a_worker_of_another_route_ends_wakes_its_own(
    store: Store, clock: ManualClock
) -> None:
    await emit(store, intent("retry", route="a"))
    (claimed,) = await claim(store, "a")
    await store.fail_intent(claimed.claim_token, b"", 3600 * SECOND)
    assert await claim(store, "a") == []
    waiting = waiter(store, "a")
    await asyncio.sleep(0)
    clock.forward(3600)
    # It is this claim that finds out that the wait has ended.
    assert await claim(store, "b") == []
    await asyncio.wait_for(waiting, 5)
    assert names(await claim(store, "a")) == ["retry"]


async def test_failed_commit_hides_no_route(store: Store) -> None:
    await emit(store, intent("a", route="a"))
    twice = change(None, key="x", intents=(intent("b", route="b"), intent("a", route="b")))
    outcomes = await asyncio.gather(
        store.commit(twice), claim(store, "b"), store.commit(twice), return_exceptions=True
    )
    assert isinstance(outcomes[0], Exception)
    await asyncio.wait_for(store.wait_intents(None, ("a",)), 5)
    assert names(await claim(store, "a")) == ["a"]
    assert await claim(store, "b") == []


# What the figures tell of routes


def routes_of(stats: QueueStats) -> list[tuple[str, int, int | None]]:
    ages = ((row, row.oldest_pending_us) for row in stats.routes)
    return [(row.route, row.pending, None if age is None else age // SECOND) for row, age in ages]


async def test_figures_tell_of_each_route(store: Store, clock: ManualClock) -> None:
    assert (await store.queue_stats()).routes == []
    await emit(store, intent("a1", route="a", priority=5), intent("c1", route="c"), intent("any"))
    clock.forward(2)
    await emit(store, intent("a2", route="a", priority=1), intent("b1", route="b"))
    clock.forward(1)
    assert names(await claim(store, "c")) == ["c1", "any"]
    assert routes_of(await store.queue_stats()) == [("a", 2, 3), ("b", 1, 1)]


async def test_what_is_to_be_taken_later_is_pending_on_its_route(
    store: Store, clock: ManualClock
) -> None:
    await emit(store, intent("retry", route="a"), intent("held", route="b", order_key="o"))
    await emit(store, intent("behind", route="c", order_key="o", priority=1))
    retry, held = await claim(store)
    clock.forward(4)
    assert routes_of(await store.queue_stats()) == [("c", 1, 4)]
    await store.fail_intent(retry.claim_token, b"", 60 * SECOND)
    assert routes_of(await store.queue_stats()) == [("a", 1, 4), ("c", 1, 4)]
    await store.complete_intents([held.claim_token])
    (behind,) = await claim(store)
    assert routes_of(await store.queue_stats()) == [("a", 1, 4)]
    await store.release_intents([behind.claim_token])
    await store.cancel_intents(["id-retry"])
    assert routes_of(await store.queue_stats()) == [("c", 1, 4)]


async def test_counts_of_routes_stay_right_over_each_end(store: Store, clock: ManualClock) -> None:
    """Each way into the pending ones and out of them."""
    await emit(store, *(intent(f"{r}{n}", route=r, max_attempts=2) for r in "ab" for n in range(5)))
    claims = {names([one])[0]: one.claim_token for one in await claim(store)}
    assert routes_of(await store.queue_stats()) == []
    await store.fail_intent(claims["a0"], b"", None)
    await store.fail_intent(claims["b0"], b"", None)
    await store.release_intents([claims["a1"]])
    await store.complete_intents([claims["b1"]])
    assert await store.redrive_intents(["id-a0"]) == 1
    assert routes_of(await store.queue_stats()) == [("a", 2, 0)]
    await store.take_back_intents("effect/worker", [claims["a3"], claims["a4"], claims["b4"]])
    assert routes_of(await store.queue_stats()) == [("a", 3, 0), ("b", 2, 0)]
    clock.forward(10)
    assert len(await claim(store, "b")) == 3
    assert routes_of(await store.queue_stats()) == [("a", 5, 10)]


async def test_failed_commit_counts_on_no_route(store: Store) -> None:
    await emit(store, intent("a", route="a"))
    twice = change(None, key="x", intents=(intent("b", route="b"), intent("a", route="b")))
    await asyncio.gather(*(store.commit(twice) for _ in range(3)), return_exceptions=True)
    assert [row.route for row in (await store.queue_stats()).routes] == ["a"]


async def test_longest_waiting_routes_are_told_of(store: Store, clock: ManualClock) -> None:
    for batch in range(3):
        await emit(store, *(intent(f"{batch}-{n}", route=f"{batch}-{n:03}") for n in range(500)))
        clock.forward(1)
    stats = await store.queue_stats()
    assert stats.pending == 1500
    told = routes_of(stats)
    assert told == [(f"{batch}-{n:03}", 1, 3 - batch) for batch in (0, 1) for n in range(500)]


async def test_figures_look_at_the_head_of_a_long_queue(store: Store, clock: ManualClock) -> None:
    """Without a bound they would walk over all of it, to the head of each priority."""
    await emit(store, *(intent(f"a{n}", route="a", priority=5) for n in range(LOOKED_AT)))
    clock.forward(3600)
    await emit(store, intent("a-urgent", route="a", priority=1))
    stats = await store.queue_stats()
    assert routes_of(stats) == [("a", LOOKED_AT + 1, 3600)]
    urgent, background = stats.priorities
    assert (urgent.pending, urgent.oldest_pending_us) == (1, None)
    assert background.oldest_pending_us == stats.oldest_pending_us == 3600 * SECOND
    await store.cancel_intents(["id-a0"])
    urgent, _ = (await store.queue_stats()).priorities
    assert urgent.oldest_pending_us == 0


@over_a_restart
async def test_routes_survive_a_restart(backend: Backend) -> None:
    store = await backend.open()
    await emit(store, intent("a", route="a"), intent("b", route="b"))
    await store.close()
    store = await backend.open()
    await asyncio.wait_for(store.wait_intents(None, ("b",)), 5)
    assert routes_of(await store.queue_stats()) == [("a", 1, 0), ("b", 1, 0)]
    assert names(await claim(store, "b")) == ["b"]
    assert names(await claim(store)) == ["a"]
    await store.close()


async def test_wait_that_ends_sends_one_worker_to_look(store: Store, clock: ManualClock) -> None:
    """However many workers there are, and whose intent ever it is."""
    waiting = await _wait_beside_a_retry(store)
    done, pending = await asyncio.wait(waiting, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    clock.forward(1)
    assert await claim(store, "a") == []
    done, _ = await asyncio.wait(pending, timeout=0.2)
    assert not done
    assert names(await claim(store, "b")) == ["b"]
    for each in pending:
        each.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


async def test_wait_that_ends_is_not_forgotten_where_nobody_looks(store: Store) -> None:
    waiting = await _wait_beside_a_retry(store)
    await asyncio.wait_for(asyncio.gather(*waiting), 5)


async def _wait_beside_a_retry(store: Store) -> list[asyncio.Task[None]]:
    await emit(store, intent("b", route="b"))
    (claimed,) = await claim(store, "b")
    assert await claim(store, "a") == []
    waiting = [waiter(store, "a") for _ in range(5)]
    await asyncio.sleep(0)
    await store.fail_intent(claimed.claim_token, b"", SECOND // 20)
    return waiting
