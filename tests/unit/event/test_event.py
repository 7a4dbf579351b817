"""The event log over a real store, reached in this process."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from uuid import uuid4

import pytest

from onex.v1 import event_pb2, event_pb2_grpc
from onex_grpc.context import CallContext, enter_call
from onex_grpc.errors import (
    AlreadyExistsError,
    ContractValidationError,
    NodeUnavailableError,
    OutcomeUnknownError,
)
from onex_grpc.event import EventBus, EventLog
from onex_grpc.rpc import CallRuntime, LocalServer, Mesh
from onex_grpc.store.opening import open_store
from onex_grpc.telemetry import NO_TELEMETRY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from onex_grpc.store.model import StoredEvent
    from onex_grpc.store.protocol import Store

CORRELATION = "7f3c1c9e-2a8e-4a55-9d3c-0a8f6f8d2b11"


def event(
    name: str, topic: str = "orders", key: str = "", correlation_id: str = ""
) -> event_pb2.Event:
    return event_pb2.Event(
        event_id=name, topic=topic, event_type="HAPPENED", key=key, correlation_id=correlation_id
    )


@dataclass
class Served:
    server: LocalServer
    log: EventLog


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    store = await open_store(tmp_path / "orchestrator.db")
    runtime = CallRuntime(node="orchestrator/test", telemetry=NO_TELEMETRY)
    server = LocalServer(runtime)
    bus = EventBus(store, runtime.until_draining)
    server.add(event_pb2_grpc.add_EventBusServiceServicer_to_server, bus)
    mesh = Mesh({"orchestrator": server})
    try:
        yield Served(server, EventLog(mesh))
    finally:
        await server.drain(1.0)
        await mesh.close()
        await store.close()


async def test_what_is_published_is_read(served: Served) -> None:
    first = await served.log.publish(event("a", key="k"))
    await served.log.publish(event("other", topic="elsewhere"))
    second = await served.log.publish(event("b", correlation_id=CORRELATION))
    assert first < second
    a, b = await served.log.read("orders")
    assert (a.event_id, a.key, a.sequence) == ("a", "k", first)
    assert (b.correlation_id, b.sequence) == (CORRELATION, second)
    assert a.published_at.ToMicroseconds() > 0
    assert [e.event_id for e in await served.log.read("orders", first)] == ["b"]
    assert await served.log.read("orders", second) == []
    assert await served.log.read("nothing") == []


async def test_an_event_takes_its_calls_correlation_id(served: Served) -> None:
    enter_call(CallContext(CORRELATION))
    await served.log.publish(event("a"))
    assert (await served.log.read("orders"))[0].correlation_id == CORRELATION


async def test_the_same_event_again(served: Served) -> None:
    given = event("a", key="k", correlation_id=CORRELATION)
    first = await served.log.publish(given)
    assert await served.log.publish(given) == first
    # Who repeats a lost call from outside has a new correlation id.
    enter_call(CallContext("0b9b7d1e-6f0e-4b8e-8f0a-4f1d2c3b4a59"))
    assert await served.log.publish(event("a", key="k")) == first
    assert [e.correlation_id for e in await served.log.read("orders")] == [CORRELATION]
    enter_call(CallContext(CORRELATION))
    with pytest.raises(AlreadyExistsError):
        await served.log.publish(event("a", key="other", correlation_id=CORRELATION))
    assert len(await served.log.read("orders")) == 1


async def test_an_old_repeat_is_answered_from_the_log_or_refused(served: Served) -> None:
    first = await served.log.publish(event("a"))
    now_us = time.time_ns() // 1000
    for days, is_old in ((7, True), (5, False)):
        issued_us = now_us - days * 86_400_000_000
        enter_call(CallContext(CORRELATION, action_id=CORRELATION, issued_us=issued_us))
        assert await served.log.publish(event("a")) == first
        if is_old:
            with pytest.raises(OutcomeUnknownError, match=r"7 days.*events"):
                await served.log.publish(event("b"))
            assert await served.log.read("orders", first) == []
    assert await served.log.publish(event("b")) > first


async def test_followers_get_the_backlog_and_what_comes(served: Served) -> None:
    total = 700
    await asyncio.gather(*(served.log.publish(event(f"old{n}")) for n in range(total)))
    followers = [served.log.follow("orders") for _ in range(2)]

    async def take(follower: AsyncIterator[event_pb2.Event], count: int) -> list[str]:
        return [(await anext(follower)).event_id for _ in range(count)]

    backlogs = await asyncio.gather(*(take(follower, total) for follower in followers))
    assert backlogs[0] == backlogs[1]
    assert sorted(backlogs[0]) == sorted(f"old{n}" for n in range(total))
    waiting = asyncio.gather(*(take(follower, 3) for follower in followers))
    for name in ("x", "y", "z"):
        await served.log.publish(event(name))
    assert await waiting == [["x", "y", "z"]] * 2


async def test_a_stopping_node_ends_subscriptions(served: Served) -> None:
    await served.log.publish(event("a"))
    follower = served.log.follow("orders")
    await anext(follower)
    waiting = asyncio.ensure_future(anext(follower))
    await served.log.publish(event("other", topic="elsewhere"))
    await served.server.drain(1.0)
    with pytest.raises(NodeUnavailableError):
        await waiting


async def test_what_the_bus_gives_is_not_given_to_it(served: Served) -> None:
    wrong = event("a", topic="no topic")
    wrong.sequence = 3
    with pytest.raises(ContractValidationError) as caught:
        await served.log.publish(wrong)
    assert {v.field for v in caught.value.violations} == {"event.topic", "event.sequence"}


async def test_a_slow_follower_is_read_for_no_faster_than_it_reads(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "orchestrator.db")
    read = 0

    class Counting:
        """The store, and how many bytes were read from its log."""

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        async def read_events(self, topic: str, after: int, limit: int) -> Sequence[StoredEvent]:
            nonlocal read
            page = await store.read_events(topic, after, limit)
            read += sum(len(stored.payload) for stored in page)
            return page

    server = LocalServer(CallRuntime(node="orchestrator/test", telemetry=NO_TELEMETRY))
    bus = EventBus(cast("Store", Counting()))
    server.add(event_pb2_grpc.add_EventBusServiceServicer_to_server, bus)
    mesh = Mesh({"orchestrator": server})
    log = EventLog(mesh)
    for _ in range(40):
        large = event(str(uuid4()), key="k")
        large.data.value.string_value = "x" * 500_000
        await log.publish(large)
    follower = log.follow("orders")
    first = await anext(follower)
    for _ in range(1000):
        await asyncio.sleep(0)
        await store.event_span("orders")
    assert read < 8 * 1024 * 1024
    rest = [await anext(follower) for _ in range(39)]
    sequences = [found.sequence for found in (first, *rest)]
    assert sequences == sorted(set(sequences))
    await mesh.close()
    await server.drain(1.0)
    await store.close()
