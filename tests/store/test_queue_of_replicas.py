"""The queue of a reducer that several processes serve: a worker that goes from one to another."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import psycopg
import pytest

from onex.v1 import error_pb2, intent_pb2
from onex_grpc.store import open_store
from tests.unit.intent.bench import QueueBench, intent, name_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from onex_grpc.store import Store
    from tests.store.server import PostgresServer

Request = intent_pb2.TakeIntentsRequest


def hello(*held: str) -> Request:
    """A worker that holds these claims."""
    return Request(hello=intent_pb2.TakeIntentsHello(worker="effect/test", held_claim_tokens=held))


def credit(count: int) -> Request:
    """Room for so many intents."""
    return Request(credit=intent_pb2.TakeIntentsCredit(count=count))


async def delivered(call: object) -> intent_pb2.IntentDelivery:
    """The next answer, a delivery."""
    response = await call.read()  # type: ignore[attr-defined]
    assert isinstance(response, intent_pb2.TakeIntentsResponse)
    assert response.HasField("delivery")
    return response.delivery


async def settled(call: object) -> intent_pb2.IntentSettled:
    """The next answer, to a report."""
    response = await call.read()  # type: ignore[attr-defined]
    assert isinstance(response, intent_pb2.TakeIntentsResponse)
    assert response.HasField("settled")
    return response.settled


async def completed(call: object, token: str) -> None:
    """Returns when the queue has taken the report of an executed intent."""
    complete = intent_pb2.TakeIntentsComplete(claim_token=token)
    await call.write(Request(complete=complete))  # type: ignore[attr-defined]
    assert (await settled(call)).status == intent_pb2.INTENT_STATUS_COMPLETED


@pytest.fixture
async def queues(postgres: PostgresServer, owner: str) -> AsyncIterator[list[QueueBench]]:
    """The queue of one reducer at each of two processes."""
    async with AsyncExitStack() as stack:
        queues = []
        for instance in ("pod-0", "pod-1"):
            store: Store = await open_store(postgres.address, owner=owner, instance=instance)
            stack.push_async_callback(store.close)
            queues.append(QueueBench(store))
            stack.push_async_callback(queues[-1].close)
        yield queues


async def test_claims_of_one_process_are_settled_at_the_other(queues: list[QueueBench]) -> None:
    here, there = queues
    await here.emit(*(intent(str(number), priority=number) for number in (1, 2, 3)))
    first = here.stub.TakeIntents()
    await first.write(hello())
    await first.write(credit(2))
    held, lost = await delivered(first), await delivered(first)
    first.cancel()
    await here.runtime_idle()
    second = there.stub.TakeIntents()
    await second.write(hello(held.claim_token))
    await completed(second, held.claim_token)
    await second.write(credit(5))
    # What the worker never got comes at once, and before what is less urgent.
    again, third = await delivered(second), await delivered(second)
    assert name_of(again.intent) == name_of(lost.intent) == "2"
    assert (again.attempt, name_of(third.intent)) == (2, "3")
    # Back at the first one, which remembers older claims of this worker.
    last = here.stub.TakeIntents()
    await last.write(hello(again.claim_token, third.claim_token))
    await completed(last, again.claim_token)
    await completed(last, third.claim_token)
    # The other stream is still there, and its credit with it: it gets what is new.
    await here.emit(intent("4"))
    assert name_of((await delivered(second)).intent) == "4"
    stats = await there.stub.GetQueueStats(intent_pb2.GetQueueStatsRequest())
    assert (stats.completed, stats.in_flight, stats.pending) == (3, 1, 0)
    second.cancel()
    last.cancel()


async def test_failure_told_to_another_process_waits_as_the_intent_says(
    queues: list[QueueBench], postgres: PostgresServer, owner: str
) -> None:
    here, there = queues
    patient = intent("a")
    patient.retry_policy.initial_backoff.FromSeconds(1000)
    patient.retry_policy.max_backoff.FromSeconds(100_000)
    await here.emit(patient)
    first = here.stub.TakeIntents()
    await first.write(hello())
    await first.write(credit(1))
    token = (await delivered(first)).claim_token
    first.cancel()
    second = there.stub.TakeIntents()
    await second.write(hello(token))
    failure = intent_pb2.TakeIntentsFail(claim_token=token, error=error_pb2.ErrorDetail())
    await second.write(Request(fail=failure))
    assert (await settled(second)).status == intent_pb2.INTENT_STATUS_PENDING
    second.cancel()
    with psycopg.connect(postgres.address) as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", (f'"onex/{owner}"',))
        found = connection.execute(
            "SELECT timed_us / 1000000 - extract(epoch FROM clock_timestamp()) FROM intent"
        ).fetchone()
    assert found is not None
    assert 900 < found[0] < 2100
