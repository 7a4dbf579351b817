"""Members of one transaction that touch the same rows: each sees what those before it did."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest

from onex_grpc.errors import (
    EpochMismatchError,
    LeaseConflictError,
    LeaseExpiredError,
    LeaseValidationError,
    StaleFenceError,
)
from onex_grpc.store import Committed, Guard, IntentState, Replayed
from onex_grpc.store.postgres.connection import schema_of
from tests.store.builders import KEY, SECOND, TTL, WORKFLOW, action, change, intent, request, step
from tests.store.together import Together

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from onex_grpc.store import Store
    from tests.store.conftest import Backend


@pytest.fixture
def together() -> Together:
    return Together()


@pytest.fixture
async def store(backend: Backend, together: Together) -> AsyncIterator[Store]:
    opened = await backend.open(on_batch=together)
    yield opened
    await opened.close()


async def test_changes_of_one_state_follow_each_other(store: Store, together: Together) -> None:
    results = await together.run(
        store,
        store.commit(change(0, b"one")),
        store.commit(change(1, b"two", opened=True)),
        store.commit(change(1, b"stale")),
        store.commit(change(None, b"three")),
        store.commit(change(0, b"other", key="other")),
    )
    assert [results[n] for n in (0, 1, 3, 4)] == [Committed(n) for n in (1, 2, 3, 1)]
    assert isinstance(results[2], EpochMismatchError)
    assert (await store.get_state(KEY)).state == b"three"
    assert [entry.state for entry in await store.list_history(KEY, 0, 9)] == [
        *(b"one", b"two", b"three")
    ]
    assert [work.key for work in await store.list_open("")] == [KEY]
    assert await together.run(
        store, store.commit(change(3, opened=False)), store.commit(change(4))
    ) == [Committed(4), Committed(5)]
    assert await store.list_open("") == []


async def test_repeat_in_the_batch_of_its_first_run_is_replayed(
    store: Store, together: Together
) -> None:
    same = change(None, actions=(action("a"),), reply=b"reply")
    results = await together.run(store, *(store.commit(same) for _ in range(3)))
    assert results[0] == Committed(1)
    for result in results[1:]:
        assert isinstance(result, Replayed)
        assert (result.action.reply, result.action.epoch) == (b"reply", 1)


async def test_lease_of_the_batch_guards_what_follows(store: Store, together: Together) -> None:
    first, conflict, elsewhere = await together.run(
        store,
        store.acquire_lease(request("a")),
        store.acquire_lease(request("b")),
        store.acquire_lease(request("b", workflow_id="w2")),
    )
    lease = await store.get_lease(WORKFLOW)
    assert first == lease
    assert isinstance(conflict, LeaseConflictError)
    assert elsewhere == await store.get_lease("w2")
    renewed, epoch, committed, stale = await together.run(
        store,
        store.renew_lease(lease.guard),
        store.release_lease((await store.get_lease("w2")).guard),
        store.commit(change(0, guard=lease.guard, release=True)),
        store.commit(change(1, guard=Guard(WORKFLOW, "old", lease.fence - 1))),
    )
    assert renewed == lease
    assert (epoch, committed) == (0, Committed(1))
    assert isinstance(stale, StaleFenceError)
    assert (await store.get_lease(WORKFLOW)).remaining_us == 0


async def test_claims_are_dealt_out_by_rank(store: Store, together: Together) -> None:
    ranked = [intent(f"p{priority}", priority=priority) for priority in (5, 3, 1, 4, 2)]
    await store.commit(change(0, intents=tuple(ranked)))
    results = await together.run(
        store, *(store.claim_intents(f"effect/{n}", 2, TTL) for n in range(4))
    )
    claims = [[each.payload for each in claimed] for claimed in results]  # type: ignore[attr-defined]
    assert claims == [[b"p1", b"p2"], [b"p3", b"p4"], [b"p5"], []]
    tokens = [each.claim_token for claimed in results for each in claimed]  # type: ignore[attr-defined]
    assert await together.run(
        store,
        store.complete_intents([tokens[0], tokens[1], tokens[0]]),
        store.complete_intents([tokens[1], tokens[2]]),
        store.fail_intent(tokens[3], b"", None),
        store.complete_intents([tokens[3], "0.unknown"]),
    ) == [[True, True, False], [False, True], IntentState.DEAD, [False, False]]
    stats = await store.queue_stats()
    assert (stats.pending, stats.in_flight, stats.completed, stats.dead) == (0, 1, 3, 1)


async def test_order_is_kept_within_a_batch(store: Store, together: Together) -> None:
    await store.commit(change(0, intents=(intent("1", order_key="k"),)))
    (first,) = await store.claim_intents("effect/a", 1, 60 * SECOND)
    await together.run(
        store,
        store.commit(change(1, intents=(intent("2", order_key="k"), intent("3", order_key="k")))),
        store.complete_intents([first.claim_token]),
        store.commit(change(2, intents=(intent("4", order_key="k"),))),
    )
    for name in (b"2", b"3", b"4"):
        (claimed,) = await store.claim_intents("effect/a", 9, 60 * SECOND)
        assert claimed.payload == name
        assert await store.complete_intents([claimed.claim_token]) == [True]


async def test_pending_steps_follow_each_other_and_refused_ones_leave_the_batch(
    store: Store, together: Together
) -> None:
    lease = await store.acquire_lease(request())
    over = await store.acquire_lease(request(workflow_id="w2"))
    await store.release_lease(over.guard)
    await store.record_pending(lease.guard, [step("a")])
    good = lease.guard
    results = await together.run(
        store,
        store.record_pending(good, [step("b", attempts=1), step("c")]),
        store.record_pending(replace(good, fence=good.fence - 1), [step("x")], ["a", "b"]),
        store.record_pending(good, [step("b", attempts=2), step("d")], ["a", "c"]),
        store.record_pending(replace(good, lease_id="forged"), [step("y")], ["b"]),
        store.record_pending(over.guard, [step("z")]),
        store.commit(change(0, guard=good, opened=True)),
        store.record_pending(good, [step("a", attempts=3)]),
        store.record_pending(good, [step("e")]),
        store.record_pending(good, (), ["e"]),
    )
    refusals = {1: StaleFenceError, 3: LeaseValidationError, 4: LeaseExpiredError}
    for number, result in enumerate(results):
        if number in refusals:
            assert isinstance(result, refusals[number])
        else:
            assert result == (Committed(1) if number == 5 else None)
    found = await store.list_pending(WORKFLOW)
    assert [(each.action_id, each.attempts) for each in found] == [("b", 2), ("d", 1), ("a", 3)]
    assert list(await store.list_pending("w2")) == []


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
async def test_refused_pending_steps_do_not_undo_a_batch(
    store: Store, together: Together, backend: Backend
) -> None:
    """Without: the batch is rolled back, and each of its members is a transaction of its own."""
    lease = await store.acquire_lease(request())
    stale = Guard(WORKFLOW, "old", lease.fence - 1)
    *good, error, done = await together.run(
        store,
        *(store.commit(change(0, key=f"k{number}")) for number in range(5)),
        store.record_pending(stale, [step("a")], ["b"]),
        store.record_pending(lease.guard, [step("c")]),
    )
    assert (good, done) == ([Committed(1)] * 5, None)
    assert isinstance(error, StaleFenceError)
    schema = schema_of(backend.owner)
    with psycopg.connect(backend.address) as server:
        server.execute("SELECT set_config('search_path', %s, false)", (f'"{schema}"',))
        transactions = server.execute(
            "SELECT xmin::text FROM pending_steps UNION SELECT xmin::text FROM state"
        ).fetchall()
    assert len(transactions) == 1
