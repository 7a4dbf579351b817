"""A worker that does not read: what the queue keeps for it is bounded, and others go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from onex.v1 import intent_pb2
from onex_grpc.errors import ContractValidationError
from onex_grpc.intent.outbox import MOST_HELD, STREAM_BYTES
from onex_grpc.store.model import IntentState
from tests.mesh.intents.served_queue import (
    LocalQueue,
    Worker,
    complete,
    credit,
    extend,
    held,
    hello,
)
from tests.unit.intent.bench import intent

if TYPE_CHECKING:
    from onex_grpc.store.protocol import Store
    from tests.mesh.intents.conftest import Queue, Serve
    from tests.mesh.intents.served_queue import Response

WINDOW = 8 * 1024 * 1024
"""What flow control lets out to a client that reads nothing, at most."""


async def in_flight(queue: Queue) -> int:
    """How many intents the queue has claimed for its workers."""
    return (await queue.stub.GetQueueStats(intent_pb2.GetQueueStatsRequest())).in_flight


async def at_rest(queue: Queue) -> int:
    """How many are claimed, once no more are."""
    before, same = -1, 0
    while same < 20:
        now = await in_flight(queue)
        same = same + 1 if now == before else 0
        before = now
    return before


@pytest.mark.parametrize("size", [50_000, 1_000_000])
async def test_what_waits_for_a_worker_is_bounded(sqlite: Store, serve: Serve, size: int) -> None:
    queue = await serve(sqlite)
    for number in range(40_000_000 // size):
        await queue.emit(intent(f"{number}" + "x" * size))
    silent = Worker(queue)
    await silent.say(hello(), *[credit(1000)] * 6)
    claimed = await at_rest(queue)
    assert claimed * size <= WINDOW + 2 * STREAM_BYTES + size


async def test_what_waits_on_many_streams_is_bounded(sqlite: Store, serve: Serve) -> None:
    queue = await serve(sqlite)
    for number in range(60):
        await queue.emit(intent(f"{number}" + "x" * 1_000_000))
    streams = [Worker(queue) for _ in range(4)]
    for stream in streams:
        await stream.say(hello(), credit(1000))
    claimed = await at_rest(queue)
    assert claimed < 60


async def test_what_a_silent_worker_leaves_lying_is_given_back(sqlite: Store, serve: Serve) -> None:
    releasing, store = held(sqlite, "release_intents")
    releasing.go_on.set()
    queue = await serve(store, visibility=9.0)
    for number in range(60):
        await queue.emit(intent(f"{number}" + "x" * 500_000))
    silent = Worker(queue)
    await silent.say(hello(), credit(60))
    await releasing.reached.wait()
    # No attempt has counted of what it never got.
    pending = await sqlite.list_intents(IntentState.PENDING, 0, 100)
    assert {entry.attempts for entry in pending} == {0}
    # It reads again, and has the credit that it had.
    completed = 0
    while completed < 60:
        response = cast("Response", await silent.call.read())
        if response.HasField("delivery"):
            await silent.say(complete(response.delivery.claim_token))
        elif response.settled.status == intent_pb2.INTENT_STATUS_COMPLETED:
            completed += 1
        else:
            await silent.say(credit(1))


async def test_a_worker_that_reads_no_answers_is_not_heard(sqlite: Store) -> None:
    queue = LocalQueue(sqlite)
    worker = Worker(queue)
    await worker.say(hello())
    count, said = 3 * MOST_HELD, 0

    async def say_much() -> None:
        nonlocal said
        for number in range(count):
            await worker.say(extend(f"{number + 1}.0000000000000000"))
            said += 1

    saying = asyncio.create_task(say_much())
    while said < MOST_HELD:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0)
    before = -1
    while said != before:
        before = said
        # A claim goes through the store's writer, behind what is being settled.
        await sqlite.claim_intents("effect/other", 1, 1)
        for _ in range(1000):
            await asyncio.sleep(0)
    assert said < MOST_HELD + 2000
    # Nothing is lost: once it reads, all is answered.
    for _ in range(count):
        await worker.confirmed()
    await saying
    worker.call.cancel()
    await queue.close()


async def test_as_many_reports_as_a_worker_may_hold_need_no_reader(
    sqlite: Store, serve: Serve
) -> None:
    queue = await serve(sqlite)
    worker = Worker(queue)
    await worker.say(hello(), *(complete(f"{n}.0000000000000000") for n in range(1, MOST_HELD)))
    await worker.half_close()
    assert len(await worker.rest()) == MOST_HELD - 1


async def test_credit_is_bounded_in_sum(sqlite: Store, serve: Serve) -> None:
    queue = await serve(sqlite)
    worker = Worker(queue)
    await worker.say(hello(), *[credit(1000)] * 10, credit(1))
    with pytest.raises(ContractValidationError, match="at most 10000 together") as caught:
        await worker.call.read()
    assert [violation.field for violation in caught.value.violations] == ["message.credit.count"]


async def test_what_a_worker_holds_counts_as_credit(sqlite: Store, serve: Serve) -> None:
    queue = await serve(sqlite)
    await queue.emit(intent("f"))
    worker = Worker(queue)
    await worker.say(hello(), credit(1))
    await worker.take(1)
    await worker.say(*[credit(1000)] * 10)
    with pytest.raises(ContractValidationError, match="beside 9001"):
        await worker.call.read()
