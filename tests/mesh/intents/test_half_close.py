"""A worker that says it sends no more: what has arrived is settled and confirmed, then it ends."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from onex.v1 import intent_pb2
from onex_grpc.errors import ContractValidationError, NodeUnavailableError, UnavailableError
from onex_grpc.store import open_store
from onex_grpc.store.model import IntentState
from tests.mesh.intents.served_queue import (
    GOODBYE,
    Worker,
    complete,
    credit,
    extend,
    fail,
    held,
    hello,
)
from tests.store.server import PostgresServer
from tests.unit.intent.bench import intent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onex_grpc.store.protocol import Store
    from tests.mesh.intents.conftest import Queue, Serve

COMPLETED = intent_pb2.INTENT_STATUS_COMPLETED
LOST = intent_pb2.INTENT_STATUS_UNSPECIFIED


async def counted(queue: Queue) -> tuple[int, int, int, int]:
    """Pending, in flight, completed, dead."""
    stats = await queue.stub.GetQueueStats(intent_pb2.GetQueueStatsRequest())
    return stats.pending, stats.in_flight, stats.completed, stats.dead


def statuses(responses: Sequence[intent_pb2.TakeIntentsResponse]) -> list[int]:
    """The status of each answer; -1 for a delivery."""
    return [r.settled.status if r.HasField("settled") else -1 for r in responses]


async def reported(
    worker: Worker, tokens: Sequence[str]
) -> Sequence[intent_pb2.TakeIntentsResponse]:
    """Complete all, send no more, and return what the queue says to the end."""
    await worker.say(*map(complete, tokens))
    await worker.half_close()
    return await worker.rest()


async def test_reports_before_a_half_close_are_settled_and_confirmed(
    store: Store, serve: Serve
) -> None:
    queue = await serve(store)
    await queue.emit(*(intent(f"f{n}") for n in range(30)))
    worker = Worker(queue)
    await worker.say(hello(), credit(30))
    tokens = await worker.take(30)
    await worker.say(*map(complete, tokens))
    await worker.half_close()
    answers = await worker.rest()
    assert statuses(answers) == [COMPLETED] * 30
    assert {answer.settled.claim_token for answer in answers} == set(tokens)
    assert await counted(queue) == (0, 0, 30, 0)


async def test_half_close_before_a_hello_is_refused(sqlite: Store, serve: Serve) -> None:
    worker = Worker(await serve(sqlite))
    await worker.half_close()
    with pytest.raises(ContractValidationError, match="begin the stream with a hello"):
        await worker.rest()


@pytest.mark.parametrize("credits", [0, 5])
async def test_half_close_ends_a_stream_without_reports(
    sqlite: Store, serve: Serve, credits: int
) -> None:
    queue = await serve(sqlite)
    worker = Worker(queue)
    await worker.say(hello(), *[credit(credits)][: bool(credits)])
    await worker.half_close()
    assert await worker.rest() == []
    await queue.emit(intent("f"))
    (waiting,) = await queue.listed(IntentState.PENDING)
    assert waiting.attempts == 0


async def test_half_close_takes_back_what_is_on_its_way(store: Store, serve: Serve) -> None:
    queue = await serve(store)
    await queue.emit(*(intent(f"{n}" + "x" * 50_000) for n in range(60)))
    worker = Worker(queue)
    await worker.say(hello(), credit(60))
    (first,) = await worker.take(1)
    await worker.half_close()
    others = await worker.rest()
    assert statuses(others) == [-1] * len(others)
    # What was sent is held until its timeout; what was not waits, and no attempt has counted.
    sent = 1 + len(others)
    assert sent < 60
    assert await counted(queue) == (60 - sent, sent, 0, 0)
    pending = await store.list_intents(IntentState.PENDING, 0, 100)
    assert {entry.attempts for entry in pending} == {0}
    again = Worker(queue)
    await again.say(hello(first), complete(first))
    assert (await again.confirmed()).status == COMPLETED
    await again.half_close()
    await again.rest()


async def test_half_close_after_each_kind_of_report(store: Store, serve: Serve) -> None:
    queue = await serve(store)
    await queue.emit(*(intent(f"f{n}") for n in range(5)))
    worker = Worker(queue)
    await worker.say(hello(), credit(5))
    again, dead, longer, both, kept = await worker.take(5)
    await worker.say(
        fail(again, terminal=False),
        fail(dead, terminal=True),
        extend(longer),
        extend(both),
        complete(both),
        complete("1.0000000000000000"),
    )
    await worker.half_close()
    answers = [response.settled for response in await worker.rest()]
    told = sorted((answer.claim_token, answer.status) for answer in answers)
    assert told == sorted(
        [
            (again, intent_pb2.INTENT_STATUS_PENDING),
            (dead, intent_pb2.INTENT_STATUS_DEAD),
            (longer, intent_pb2.INTENT_STATUS_IN_FLIGHT),
            (both, intent_pb2.INTENT_STATUS_IN_FLIGHT),
            (both, COMPLETED),
            ("1.0000000000000000", LOST),
        ]
    )
    # Two claims are kept: a half-close is no goodbye.
    assert await counted(queue) == (1, 2, 1, 1)
    back = Worker(queue)
    await back.say(hello(longer, kept), complete(longer), complete(kept))
    assert [(await back.confirmed()).status for _ in range(2)] == [COMPLETED] * 2


async def test_half_close_after_a_goodbye(store: Store, serve: Serve) -> None:
    queue = await serve(store)
    await queue.emit(*(intent(f"f{n}") for n in range(3)))
    worker = Worker(queue)
    await worker.say(hello(), credit(3))
    tokens = await worker.take(3)
    await worker.say(complete(tokens[0]), GOODBYE)
    await worker.half_close()
    assert statuses(await worker.rest()) == [COMPLETED]
    assert await counted(queue) == (2, 0, 1, 0)


async def test_half_close_while_the_store_commits(store: Store, serve: Serve) -> None:
    holding, slow = held(store, "complete_intents")
    queue = await serve(slow)
    await queue.emit(*(intent(f"f{n}") for n in range(3)))
    worker = Worker(queue)
    await worker.say(hello(), credit(3))
    tokens = await worker.take(3)
    await worker.say(complete(tokens[0]))
    await holding.reached.wait()
    await worker.say(complete(tokens[1]))
    await worker.half_close()
    assert await counted(queue) == (0, 3, 0, 0)
    holding.go_on.set()
    assert statuses(await worker.rest()) == [COMPLETED] * 2
    assert await counted(queue) == (0, 1, 2, 0)


async def test_reports_that_have_arrived_outlive_their_stream(store: Store, serve: Serve) -> None:
    holding, slow = held(store, "complete_intents")
    queue = await serve(slow)
    await queue.emit(*(intent(f"f{n}") for n in range(2)))
    worker = Worker(queue)
    await worker.say(hello(), credit(2))
    tokens = await worker.take(2)
    await worker.say(complete(tokens[0]))
    await holding.reached.wait()
    worker.call.cancel()
    holding.go_on.set()
    await queue.until(lambda stats: stats.completed == 1)
    assert await counted(queue) == (0, 1, 1, 0)


async def test_a_queue_that_stops_settles_what_has_arrived(store: Store, serve: Serve) -> None:
    holding, slow = held(store, "complete_intents")
    queue = await serve(slow)
    await queue.emit(*(intent(f"f{n}") for n in range(3)))
    worker = Worker(queue)
    await worker.say(hello(), credit(3))
    tokens = await worker.take(3)
    await worker.say(complete(tokens[0]))
    await holding.reached.wait()
    draining = asyncio.create_task(queue.drain())
    await queue.runtime.until_draining()
    holding.go_on.set()
    assert (await worker.confirmed()).status == COMPLETED
    with pytest.raises(NodeUnavailableError, match="the queue is stopping"):
        await worker.call.read()
    await draining
    stats = await store.queue_stats()
    assert (stats.in_flight, stats.completed) == (2, 1)


async def test_a_queue_that_stops_does_not_wait_for_a_hello(sqlite: Store, serve: Serve) -> None:
    queue = await serve(sqlite)
    worker = Worker(queue)
    reading = asyncio.create_task(worker.call.read())
    while not queue.runtime.in_flight:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0)
    async with asyncio.timeout(3):
        await queue.drain()
    with pytest.raises(NodeUnavailableError):
        await reading


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server that a test may break."""
    server = PostgresServer()
    yield server
    server.stop()


async def test_half_close_while_the_database_is_away(
    own_postgres: PostgresServer, serve: Serve
) -> None:
    store = await open_store(own_postgres.address, owner="reducer/away")
    try:
        queue = await serve(store)
        await queue.emit(*(intent(f"f{n}") for n in range(4)))
        worker = Worker(queue)
        await worker.say(hello(), credit(4))
        tokens = await worker.take(4)
        own_postgres.halt()
        # Not OK, since nothing is stored: the worker knows that it has to report again.
        with pytest.raises(UnavailableError):
            await reported(worker, tokens)
        own_postgres.start()
        answers = None
        while answers is None:
            back = Worker(queue)
            with contextlib.suppress(UnavailableError):
                await back.say(hello(*tokens))
                answers = await reported(back, tokens)
        assert statuses(answers) == [COMPLETED] * 4
        assert await counted(queue) == (0, 0, 4, 0)
    finally:
        await store.close()
