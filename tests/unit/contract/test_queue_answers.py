"""What the fields of the intent queue's messages tell, over a real store."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING

import pytest

from onex.v1 import error_pb2, intent_pb2, operation_pb2
from onex_grpc.intent import IntentQueue
from onex_grpc.store import Commit, Exact, NewIntent, Store, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence
    from pathlib import Path

Request = intent_pb2.TakeIntentsRequest
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(tmp_path / "queue.db")
    yield opened
    await opened.close()


async def emit(store: Store, *names: str, routes: Sequence[str] = ()) -> None:
    intents = []
    for number, name in enumerate(names):
        intent = intent_pb2.ModelIntent(
            intent_id=name,
            target="log",
            payload=operation_pb2.EffectOperation(
                message=operation_pb2.MessagePublish(event_type="E")
            ),
        )
        intents.append(
            NewIntent(
                intent_id=name,
                priority=min(5, number + 1),
                max_attempts=2,
                payload=intent.SerializeToString(),
                correlation_id="c",
                traceparent=TRACE,
                route=routes[number] if routes else "",
            )
        )
    await store.commit(Commit("k", Exact(0), b"", "t", intents=intents))


class Worker:
    """A worker's end of one stream."""

    def __init__(
        self,
        queue: IntentQueue,
        *held: str,
        name: str = "effect/w",
        accepts: Sequence[str] = (),
    ) -> None:
        self._said: asyncio.Queue[Request | None] = asyncio.Queue()
        hello = intent_pb2.TakeIntentsHello(worker=name, held_claim_tokens=held, accepts=accepts)
        self.say(Request(hello=hello))
        answers = queue.TakeIntents(self._requests(), None)
        self.answers: AsyncGenerator[intent_pb2.TakeIntentsResponse, None] = answers  # type: ignore[assignment]

    def say(self, request: Request) -> None:
        self._said.put_nowait(request)

    def hang_up(self) -> None:
        self._said.put_nowait(None)

    async def take(self, count: int) -> list[intent_pb2.IntentDelivery]:
        self.say(Request(credit=intent_pb2.TakeIntentsCredit(count=count)))
        return [(await anext(self.answers)).delivery for _ in range(count)]

    async def settled(self) -> intent_pb2.IntentSettled:
        return (await anext(self.answers)).settled

    async def _requests(self) -> AsyncIterator[Request]:
        while (request := await self._said.get()) is not None:
            yield request


async def test_delivery(store: Store) -> None:
    await emit(store, "a")
    worker = Worker(IntentQueue(store))
    async with aclosing(worker.answers):
        delivery = (await worker.take(1))[0]
        assert (delivery.intent.intent_id, delivery.intent.target) == ("a", "log")
        assert (delivery.attempt, delivery.traceparent) == (1, TRACE)
        assert delivery.claim_token
        assert delivery.visibility_timeout.seconds > 0


async def test_reports_are_settled(store: Store) -> None:
    await emit(store, "a", "b", "c")
    worker = Worker(IntentQueue(store))
    async with aclosing(worker.answers):
        first, second, third = (d.claim_token for d in await worker.take(3))
        worker.say(Request(complete=intent_pb2.TakeIntentsComplete(claim_token=first)))
        done = await worker.settled()
        assert (done.claim_token, done.status) == (first, intent_pb2.INTENT_STATUS_COMPLETED)
        error = error_pb2.ErrorDetail(reason="UNAVAILABLE", message="later")
        worker.say(Request(fail=intent_pb2.TakeIntentsFail(claim_token=second, error=error)))
        assert (await worker.settled()).status == intent_pb2.INTENT_STATUS_PENDING
        dead = intent_pb2.TakeIntentsFail(claim_token=third, error=error, terminal=True)
        worker.say(Request(fail=dead))
        assert (await worker.settled()).status == intent_pb2.INTENT_STATUS_DEAD
    queue = IntentQueue(store)
    listed = await queue.ListIntents(
        intent_pb2.ListIntentsRequest(status=intent_pb2.INTENT_STATUS_DEAD), None
    )
    kept = listed.intents[0]
    assert (kept.intent.intent_id, kept.status, kept.attempts) == (
        "c",
        intent_pb2.INTENT_STATUS_DEAD,
        1,
    )
    assert kept.last_error == error
    stats = await queue.GetQueueStats(intent_pb2.GetQueueStatsRequest(), None)
    assert (stats.pending, stats.in_flight, stats.dead) == (1, 0, 1)


async def test_stats_and_pages(store: Store) -> None:
    await emit(store, "a", "b", "c")
    queue = IntentQueue(store)
    pending = intent_pb2.INTENT_STATUS_PENDING
    page = await queue.ListIntents(intent_pb2.ListIntentsRequest(status=pending, page_size=2), None)
    rest = await queue.ListIntents(
        intent_pb2.ListIntentsRequest(status=pending, page_token=page.next_page_token), None
    )
    ids = [[q.intent.intent_id for q in answer.intents] for answer in (page, rest)]
    assert ids == [["a", "b"], ["c"]]
    assert rest.next_page_token == ""
    worker = Worker(IntentQueue(store))
    async with aclosing(worker.answers):
        token = (await worker.take(2))[0].claim_token
        worker.say(Request(complete=intent_pb2.TakeIntentsComplete(claim_token=token)))
        await worker.settled()
        stats = await queue.GetQueueStats(intent_pb2.GetQueueStatsRequest(), None)
        assert (stats.pending, stats.in_flight, stats.completed) == (1, 1, 1)
        assert stats.HasField("oldest_pending_age")
        high, normal = stats.priorities
        assert (high.priority, high.pending, high.in_flight) == (2, 0, 1)
        assert (normal.priority, normal.pending, normal.in_flight) == (3, 1, 0)
        assert not high.HasField("oldest_pending_age")
        assert normal.oldest_pending_age == stats.oldest_pending_age


async def test_stats_tell_who_takes_what_waits(store: Store) -> None:
    await emit(store, "a", "b", "c", routes=("target/log", "", "target/lgo"))
    queue = IntentQueue(store)
    takers = (
        Worker(queue, accepts=("target/log", "target/files")),
        Worker(queue, accepts=("target/log",)),
        Worker(queue, name="effect/other"),
    )
    async with AsyncExitStack() as streams:
        for taker in takers:
            await streams.enter_async_context(aclosing(taker.answers))
        # Each has said hello when it gets an intent.
        for taker, given in zip(takers, ("a", "b", "c"), strict=True):
            (delivery,) = await taker.take(1)
            assert delivery.intent.intent_id == given
            error = intent_pb2.TakeIntentsFail(claim_token=delivery.claim_token)
            taker.say(Request(fail=error))
            assert (await taker.settled()).status == intent_pb2.INTENT_STATUS_PENDING
        stats = await queue.GetQueueStats(intent_pb2.GetQueueStatsRequest(), None)
        told = {row.route: (row.pending, row.workers) for row in stats.routes}
        # Two streams of one worker are one; who names no routes takes each of them.
        assert told == {"target/log": (1, 2), "": (1, 2), "target/lgo": (1, 1)}
        assert stats.routes[0].oldest_pending_age == stats.oldest_pending_age
    stats = await queue.GetQueueStats(intent_pb2.GetQueueStatsRequest(), None)
    assert [row.workers for row in stats.routes] == [0, 0, 0]


async def test_waiting_intents_are_cancelled(store: Store) -> None:
    await emit(store, "a", "b", "c")

    async def emitted(action_id: str) -> Sequence[str]:
        return {"one": ("a", "b"), "two": ("b", "c")}.get(action_id, ())

    queue = IntentQueue(store, find_emitted=emitted)
    (taken,) = await store.claim_intents("effect/w", 1, 1_000_000)
    named = intent_pb2.CancelIntentsRequest(intent_ids=["b", "never"], action_ids=["one", "none"])
    for _ in ("first", "again"):
        told = (await queue.CancelIntents(named, None)).cancellation
        assert (told.cancelled, told.kept) == (1, 1)
        (kept,) = told.kept_intents
        assert (kept.intent_id, kept.status) == ("a", intent_pb2.INTENT_STATUS_IN_FLIGHT)
    assert await store.complete_intents([taken.claim_token]) == [True]
    both = intent_pb2.CancelIntentsRequest(action_ids=["one", "two"])
    told = (await queue.CancelIntents(both, None)).cancellation
    assert (told.cancelled, told.kept) == (2, 1)
    assert told.kept_intents[0].status == intent_pb2.INTENT_STATUS_COMPLETED
    assert await store.claim_intents("effect/w", 9, 1_000_000) == []


async def test_of_many_kept_intents_some_are_named(store: Store) -> None:
    names = [str(number) for number in range(1500)]
    await emit(store, *names)
    taken = await store.claim_intents("effect/w", 1200, 1_000_000)

    async def emitted(action_id: str) -> Sequence[str]:
        return names

    queue = IntentQueue(store, find_emitted=emitted)
    every = intent_pb2.CancelIntentsRequest(action_ids=["all"])
    told = (await queue.CancelIntents(every, None)).cancellation
    assert (told.cancelled, told.kept) == (300, len(taken))
    assert len(told.kept_intents) == 1000


async def test_dead_intents_are_redriven(store: Store) -> None:
    ids = [f"0198c0de-0000-7000-8000-00000000000{number}" for number in range(3)]
    await emit(store, *ids, "waiting")
    queue = IntentQueue(store)
    worker = Worker(queue)
    async with aclosing(worker.answers):
        for delivery in await worker.take(3):
            assert delivery.redrives == 0
            token = delivery.claim_token
            worker.say(Request(fail=intent_pb2.TakeIntentsFail(claim_token=token, terminal=True)))
            assert (await worker.settled()).status == intent_pb2.INTENT_STATUS_DEAD
        some = intent_pb2.RedriveIntentsRequest(intent_ids=ids[:1])
        assert (await queue.RedriveIntents(some, None)).redriven == 1
        assert (await queue.RedriveIntents(some, None)).redriven == 0
        every = intent_pb2.RedriveIntentsRequest(all=True)
        assert (await queue.RedriveIntents(every, None)).redriven == 2
        await store.cancel_intents(["waiting"])
        deliveries = await worker.take(3)
        assert sorted(delivery.intent.intent_id for delivery in deliveries) == ids
        assert [delivery.redrives for delivery in deliveries] == [1, 1, 1]
    stats = await queue.GetQueueStats(intent_pb2.GetQueueStatsRequest(), None)
    assert (stats.dead, stats.cancelled) == (0, 1)


async def test_held_claims_go_on_in_the_next_stream(store: Store) -> None:
    await emit(store, "a")
    queue = IntentQueue(store)
    worker = Worker(queue)
    async with aclosing(worker.answers):
        token = (await worker.take(1))[0].claim_token
        worker.hang_up()
    again = Worker(queue, token, "unknown")
    async with aclosing(again.answers):
        lost = await again.settled()
        assert (lost.claim_token, lost.status) == ("unknown", intent_pb2.INTENT_STATUS_UNSPECIFIED)
        again.say(Request(complete=intent_pb2.TakeIntentsComplete(claim_token=token)))
        assert (await again.settled()).status == intent_pb2.INTENT_STATUS_COMPLETED
