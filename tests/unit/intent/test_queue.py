"""The queue and its worker over a real store."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from onex.v1 import error_pb2, intent_pb2
from onex_grpc.context import current_call
from onex_grpc.errors import (
    ContractValidationError,
    NodeUnavailableError,
    OperationRefusedError,
    OutcomeUnknownError,
    UnavailableError,
)
from onex_grpc.intent import Backoff
from onex_grpc.intent.worker import IntentWorker
from onex_grpc.store.model import IntentState
from onex_grpc.store.opening import open_store
from tests.unit.intent.bench import CORRELATION, TRACEPARENT, QueueBench, intent, name_of

if TYPE_CHECKING:
    from pathlib import Path

Intent = intent_pb2.ModelIntent
Request = intent_pb2.TakeIntentsRequest


def hello(*held: str, worker: str = "effect/test") -> Request:
    return Request(hello=intent_pb2.TakeIntentsHello(worker=worker, held_claim_tokens=held))


def credit(count: int) -> Request:
    return Request(credit=intent_pb2.TakeIntentsCredit(count=count))


def complete(token: str) -> Request:
    return Request(complete=intent_pb2.TakeIntentsComplete(claim_token=token))


async def delivered(call: object) -> intent_pb2.IntentDelivery:
    response = await call.read()  # type: ignore[attr-defined]
    assert isinstance(response, intent_pb2.TakeIntentsResponse)
    return response.delivery


async def settled(call: object) -> intent_pb2.IntentSettled:
    response = await call.read()  # type: ignore[attr-defined]
    assert isinstance(response, intent_pb2.TakeIntentsResponse)
    return response.settled


async def test_intents_are_executed_and_completed(bench: QueueBench) -> None:
    done: list[str] = []

    async def execute(given: Intent) -> None:
        call = current_call()
        assert call is not None
        assert call.correlation_id == CORRELATION
        assert call.traceparent == TRACEPARENT
        done.append(name_of(given))

    async with bench.working(execute):
        await bench.emit(*(intent(f"f{n}") for n in range(50)))
        await bench.until(lambda stats: stats.completed == 50)
    assert sorted(done) == sorted(f"f{n}" for n in range(50))


async def test_the_most_urgent_come_first(bench: QueueBench) -> None:
    done: list[str] = []

    async def execute(given: Intent) -> None:
        done.append(name_of(given))

    await bench.emit(*(intent(str(priority), priority) for priority in (5, 3, 1, 4, 2)))
    async with bench.working(execute, in_flight=1):
        await bench.until(lambda stats: stats.completed == 5)
    assert done == ["1", "2", "3", "4", "5"]


async def test_order_keys_hold(bench: QueueBench) -> None:
    done: list[str] = []

    async def execute(given: Intent) -> None:
        await asyncio.sleep(0)
        if name_of(given) == "0" and not done.count("tried"):
            done.append("tried")
            raise UnavailableError("again")
        done.append(name_of(given))

    await bench.emit(*(intent(str(n), priority=5 - n, order_key="k") for n in range(4)))
    async with bench.working(execute):
        await bench.until(lambda stats: stats.completed == 4)
    assert done == ["tried", "0", "1", "2", "3"]


async def test_a_passing_failure_is_repeated_and_a_last_one_buried(bench: QueueBench) -> None:
    attempts = 0

    async def execute(_: Intent) -> None:
        nonlocal attempts
        attempts += 1
        raise UnavailableError(f"down {attempts}")

    async with bench.working(execute):
        await bench.emit(intent("f", retries=2))
        await bench.until(lambda stats: stats.dead == 1)
    assert attempts == 3
    (dead,) = await bench.listed(IntentState.DEAD)
    assert dead.attempts == 3
    assert dead.last_error.reason == "UNAVAILABLE"
    assert dead.last_error.message == "down 3"
    assert dead.last_error.correlation_id == CORRELATION
    assert dead.last_error.node == "effect/test"


@pytest.mark.parametrize("error", [OperationRefusedError("no"), OutcomeUnknownError("lost")])
async def test_what_a_repeat_cannot_mend_is_buried_at_once(
    bench: QueueBench, error: OperationRefusedError, caplog: pytest.LogCaptureFixture
) -> None:
    async def execute(_: Intent) -> None:
        raise error

    caplog.set_level(logging.WARNING)
    async with bench.working(execute):
        await bench.emit(intent("f"))
        await bench.until(lambda stats: stats.dead == 1)
    (dead,) = await bench.listed(IntentState.DEAD)
    assert (dead.attempts, dead.last_error.reason) == (1, error.reason)
    assert f"intent for files is dead: {error.reason}" in caplog.text


async def test_a_bug_of_the_node_is_buried_without_its_text(bench: QueueBench) -> None:
    async def execute(_: Intent) -> None:
        raise KeyError("secret")

    async with bench.working(execute):
        await bench.emit(intent("f"))
        await bench.until(lambda stats: stats.dead == 1)
    (dead,) = await bench.listed(IntentState.DEAD)
    assert "secret" not in dead.last_error.message


async def test_no_more_are_in_flight_than_allowed(bench: QueueBench) -> None:
    running = most = 0
    go_on = asyncio.Event()

    async def execute(_: Intent) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            go_on.set()
        await go_on.wait()
        await asyncio.sleep(0)
        running -= 1

    await bench.emit(*(intent(f"f{n}") for n in range(20)))
    async with bench.working(execute, in_flight=3):
        await bench.until(lambda stats: stats.completed == 20)
    assert most == 3


async def test_a_stopping_worker_gives_back(bench: QueueBench) -> None:
    begun = asyncio.Event()

    async def hang(_: Intent) -> None:
        begun.set()
        await asyncio.Event().wait()

    await bench.emit(intent("f"))
    async with bench.working(hang) as worker:
        await begun.wait()
        await worker.stop(0.0)
    (waiting,) = await bench.listed(IntentState.PENDING)
    assert waiting.attempts == 0


async def test_interrupted_once_only_work_is_buried(bench: QueueBench) -> None:
    begun = asyncio.Event()

    async def hang(_: Intent) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise asyncio.CancelledError(OutcomeUnknownError("interrupted")) from None

    await bench.emit(intent("f"))
    async with bench.working(hang) as worker:
        await begun.wait()
        await worker.stop(0.0)
    (dead,) = await bench.listed(IntentState.DEAD)
    assert dead.last_error.reason == "OUTCOME_UNKNOWN"


async def test_a_long_intent_is_extended(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "short.db")
    bench = QueueBench(store, visibility=0.6)
    begun = 0

    async def slow(_: Intent) -> None:
        nonlocal begun
        begun += 1
        await asyncio.sleep(1.2)

    try:
        await bench.emit(intent("f"))
        async with bench.working(slow), bench.working(slow, name="effect/other"):
            await bench.until(lambda stats: stats.completed == 1)
        assert begun == 1
    finally:
        await bench.close()
        await store.close()


async def test_a_broken_stream_is_not_a_dead_worker(bench: QueueBench) -> None:
    await bench.emit(intent("held"), intent("lost"))
    first = bench.stub.TakeIntents()
    await first.write(hello())
    await first.write(credit(2))
    held, lost = await delivered(first), await delivered(first)
    first.cancel()
    await bench.runtime_idle()
    assert len(await bench.listed(IntentState.IN_FLIGHT)) == 2

    second = bench.stub.TakeIntents()
    await second.write(hello(held.claim_token))
    await second.write(complete(held.claim_token))
    assert (await settled(second)).status == intent_pb2.INTENT_STATUS_COMPLETED
    await second.write(credit(1))
    again = await delivered(second)
    assert again.intent == lost.intent
    assert again.claim_token != lost.claim_token
    assert again.attempt == 2
    second.cancel()


async def test_a_stale_claim_is_told(bench: QueueBench) -> None:
    await bench.emit(intent("f"))
    call = bench.stub.TakeIntents()
    await call.write(hello("1.0000000000000000"))
    answer = await settled(call)
    assert (answer.claim_token, answer.status) == ("1.0000000000000000", 0)
    await call.write(complete("nonsense"))
    assert (await settled(call)).status == intent_pb2.INTENT_STATUS_UNSPECIFIED
    call.cancel()


async def test_a_goodbye_gives_back_at_once(bench: QueueBench) -> None:
    await bench.emit(intent("f"))
    call = bench.stub.TakeIntents()
    await call.write(hello())
    await call.write(credit(1))
    await delivered(call)
    await call.write(Request(goodbye=intent_pb2.TakeIntentsGoodbye()))
    assert [response async for response in call] == []
    (waiting,) = await bench.listed(IntentState.PENDING)
    assert waiting.attempts == 0


@pytest.mark.parametrize("first", [credit(1), complete("t")], ids=["credit", "complete"])
async def test_the_stream_begins_with_a_hello(bench: QueueBench, first: Request) -> None:
    call = bench.stub.TakeIntents()
    await call.write(first)
    with pytest.raises(ContractValidationError, match="hello"):
        await call.read()


async def test_a_second_hello_is_refused(bench: QueueBench) -> None:
    call = bench.stub.TakeIntents()
    await call.write(hello())
    await call.write(hello())
    with pytest.raises(ContractValidationError, match="only the first"):
        await call.read()


async def test_a_stopping_queue_ends_its_streams(bench: QueueBench) -> None:
    call = bench.stub.TakeIntents()
    await call.write(hello())
    reading = asyncio.create_task(call.read())
    await bench.listed(IntentState.PENDING)
    await bench.server.drain(1.0)
    with pytest.raises(NodeUnavailableError):
        await reading


async def test_lists_go_page_by_page(bench: QueueBench) -> None:
    emitted = [intent(f"f{n}") for n in range(5)]
    await bench.emit(*emitted)
    found: list[Intent] = []
    token = ""
    while True:
        page = await bench.stub.ListIntents(
            intent_pb2.ListIntentsRequest(
                status=intent_pb2.INTENT_STATUS_PENDING, page_size=2, page_token=token
            )
        )
        found += [entry.intent for entry in page.intents]
        if not (token := page.next_page_token):
            break
    assert found == emitted
    with pytest.raises(ContractValidationError, match="page_token"):
        await bench.stub.ListIntents(
            intent_pb2.ListIntentsRequest(
                status=intent_pb2.INTENT_STATUS_PENDING, page_token="2; DROP"
            )
        )


async def test_large_intents_make_short_pages(bench: QueueBench) -> None:
    """Without: no page of the usual size is small enough for a message."""
    await bench.emit(*(intent("x" * size) for size in (2_500_000, 900_000, 900_000, 10, 10)))
    sizes: list[int] = []
    request = intent_pb2.ListIntentsRequest(status=intent_pb2.INTENT_STATUS_PENDING)
    while True:
        page = await bench.stub.ListIntents(request)
        sizes.append(len(page.intents))
        if not (token := page.next_page_token):
            break
        request.page_token = token
    assert sizes == [1, 1, 3]


async def test_figures(bench: QueueBench) -> None:
    empty = await bench.stub.GetQueueStats(intent_pb2.GetQueueStatsRequest())
    assert not empty.HasField("oldest_pending_age")
    await bench.emit(intent("f"))
    stats = await bench.stub.GetQueueStats(intent_pb2.GetQueueStatsRequest())
    assert stats.pending == 1
    assert stats.HasField("oldest_pending_age")


async def test_the_policy_decides_the_wait(bench: QueueBench) -> None:
    slow = intent("slow")
    slow.retry_policy.initial_backoff.FromSeconds(3600)
    slow.retry_policy.max_backoff.FromSeconds(3600)
    await bench.emit(slow)
    call = bench.stub.TakeIntents()
    await call.write(hello())
    await call.write(credit(2))
    token = (await delivered(call)).claim_token
    error = error_pb2.ErrorDetail(reason="UNAVAILABLE", message="down")
    await call.write(Request(fail=intent_pb2.TakeIntentsFail(claim_token=token, error=error)))
    assert (await settled(call)).status == intent_pb2.INTENT_STATUS_PENDING
    await bench.emit(intent("next"))
    assert name_of((await delivered(call)).intent) == "next"
    call.cancel()


def test_backoff_grows_to_its_limit() -> None:
    backoff = Backoff(initial=0.1, longest=1.0, multiplier=2.0)
    for repeat, least in ((1, 0.1), (2, 0.2), (3, 0.4), (4, 0.8)):
        waits = [backoff.wait(repeat) for _ in range(100)]
        assert least <= min(waits)
        assert max(waits) <= min(1.0, least + 0.1)
        assert len(set(waits)) > 1
    assert backoff.wait(10_000) == 1.0


async def test_an_execution_that_cancels_itself_gives_its_place_back(
    bench: QueueBench, caplog: pytest.LogCaptureFixture
) -> None:
    async def execute(given: Intent) -> None:
        if name_of(given) == "bad":
            raise asyncio.CancelledError

    await bench.emit(intent("bad", priority=1), intent("good"))
    async with bench.working(execute, in_flight=1):
        await bench.until(lambda stats: (stats.completed, stats.dead) == (1, 1))
    assert "executing an intent" in caplog.text


async def test_a_worker_outlives_a_fault_of_its_own(
    bench: QueueBench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    hear = IntentWorker._hear

    def hear_badly(worker: IntentWorker, response: intent_pb2.TakeIntentsResponse) -> None:
        monkeypatch.setattr(IntentWorker, "_hear", hear)
        raise KeyError("bug")

    async def execute(given: Intent) -> None:
        done.append(name_of(given))

    monkeypatch.setattr(IntentWorker, "_hear", hear_badly)
    async with bench.working(execute):
        await bench.emit(intent("f", retries=2))
        await bench.until(lambda stats: stats.completed == 1)
    assert done == ["f"]
    assert "taking intents of reducer failed" in caplog.text
