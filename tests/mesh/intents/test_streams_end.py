"""However a stream ends, its claims are known to nobody but its worker, or to nobody at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from onex_grpc.errors import DatabaseConnectionError, OnexError
from onex_grpc.store.model import IntentState
from tests.mesh.intents.served_queue import GOODBYE, Worker, complete, credit, held, hello
from tests.unit.intent.bench import intent

if TYPE_CHECKING:
    from onex_grpc.store.protocol import Store
    from tests.mesh.intents.conftest import Serve

pytestmark = pytest.mark.timeout(30)


async def ended(worker: Worker) -> None:
    """Return when the stream has ended, however it does."""
    with pytest.raises(OnexError, match="away"):
        await worker.rest()


@pytest.mark.parametrize("how", ["cut", "half-close", "goodbye"])
async def test_a_claim_that_fails_while_its_stream_ends(
    store: Store, serve: Serve, how: str
) -> None:
    holding, slow = held(store, "claim_intents")
    queue = await serve(slow)
    await queue.emit(intent("first"), intent("second"))
    holding.go_on.set()
    old = Worker(queue)
    await old.say(hello(), credit(1))
    (first,) = await old.take(1)
    holding.go_on.clear()
    holding.reached.clear()
    await old.say(credit(1))
    await holding.reached.wait()
    holding.error = DatabaseConnectionError("away")
    if how == "cut":
        old.call.cancel()
    elif how == "half-close":
        await old.half_close()
    else:
        await old.say(GOODBYE)
    holding.go_on.set()
    await queue.runtime_idle()
    # The worker comes back and names nothing: all that it held is free at once.
    holding.error = None
    back = Worker(queue)
    await back.say(hello(), credit(2))
    tokens = await back.take(2)
    assert first not in tokens
    await back.say(*map(complete, tokens))
    await back.half_close()
    await back.rest()
    assert (await store.queue_stats()).completed == 2


@pytest.mark.parametrize("method", ["take_back_intents", "extend_intents"])
async def test_a_hello_that_fails_leaves_nothing_behind(
    store: Store, serve: Serve, method: str
) -> None:
    holding, slow = held(store, method)
    queue = await serve(slow)
    await queue.emit(intent("first"), intent("second"))
    holding.go_on.set()
    old = Worker(queue)
    await old.say(hello(), credit(2))
    first, second = await old.take(2)
    old.call.cancel()
    await queue.runtime_idle()
    holding.error = DatabaseConnectionError("away")
    failed = Worker(queue)
    await failed.say(hello(first, second))
    await ended(failed)
    holding.error = None
    back = Worker(queue)
    await back.say(hello(second), complete(second), credit(1))
    assert (await back.confirmed()).claim_token == second
    (again,) = await back.take(1)
    assert again.partition(".")[0] == first.partition(".")[0]


async def test_a_hello_that_is_cut_off_leaves_nothing_behind(store: Store, serve: Serve) -> None:
    holding, slow = held(store, "take_back_intents")
    queue = await serve(slow)
    await queue.emit(intent("first"))
    holding.go_on.set()
    old = Worker(queue)
    await old.say(hello(), credit(1))
    (first,) = await old.take(1)
    old.call.cancel()
    await queue.runtime_idle()
    holding.go_on.clear()
    holding.reached.clear()
    cut = Worker(queue)
    await cut.say(hello(first))
    await holding.reached.wait()
    cut.call.cancel()
    holding.go_on.set()
    await queue.runtime_idle()
    back = Worker(queue)
    await back.say(hello(), credit(1))
    assert await back.take(1) != [first]


async def test_a_goodbye_that_cannot_give_back_is_told(store: Store, serve: Serve) -> None:
    holding, slow = held(store, "release_intents")
    queue = await serve(slow)
    await queue.emit(intent("first"))
    worker = Worker(queue)
    await worker.say(hello(), credit(1))
    (first,) = await worker.take(1)
    holding.error = DatabaseConnectionError("away")
    holding.go_on.set()
    await worker.say(GOODBYE)
    await ended(worker)
    holding.error = None
    back = Worker(queue)
    await back.say(hello(), credit(1))
    assert await back.take(1) != [first]


async def test_a_claim_that_nobody_waits_for_is_given_back(store: Store, serve: Serve) -> None:
    holding, slow = held(store, "claim_intents")
    queue = await serve(slow)
    await queue.emit(intent("first"))
    worker = Worker(queue)
    await worker.say(hello(), credit(1))
    await holding.reached.wait()
    worker.call.cancel()
    while not worker.call.done():  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0)
    holding.go_on.set()
    await queue.runtime_idle()
    stats = await store.queue_stats()
    assert (stats.pending, stats.in_flight) == (1, 0)
    other = Worker(queue)
    await other.say(hello(worker="effect/other"), credit(1))
    await other.take(1)
    (taken,) = await queue.listed(IntentState.IN_FLIGHT)
    assert taken.attempts == 1
