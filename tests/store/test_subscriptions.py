"""Subscriptions to a log that is purged: an event that is gone is an error, never a gap."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from onex.v1 import event_pb2, event_pb2_grpc
from onex_grpc.errors import EventPositionError, EventPositionExpiredError, Status
from onex_grpc.event import EventBus, EventLog
from onex_grpc.rpc import CallRuntime, LocalServer, Mesh, Server, ServerOptions
from onex_grpc.telemetry import NO_TELEMETRY
from tests.store.test_purging import AGE, FOR_EVER, sweep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from onex_grpc.store import Store
    from tests.store.builders import ManualClock

PURGED = replace(FOR_EVER, events_us=AGE)


@asynccontextmanager
async def served(store: Store, *, socket: bool = False) -> AsyncIterator[Mesh]:
    """A mesh that reaches the log of a store, in this process or over a socket."""
    runtime = CallRuntime(node="orchestrator/test", telemetry=NO_TELEMETRY)
    server = Server(runtime, ServerOptions()) if socket else LocalServer(runtime)
    bus = EventBus(store, runtime.until_draining)
    server.add(event_pb2_grpc.add_EventBusServiceServicer_to_server, bus)
    address = server if isinstance(server, LocalServer) else f"127.0.0.1:{await server.start()}"
    async with Mesh({"orchestrator": address}) as mesh:
        yield mesh
        await server.drain(0.0)


async def publish(log: EventLog, topic: str, count: int) -> list[int]:
    """Publish so many events; returns their positions."""
    events = [
        event_pb2.Event(event_id=f"{number}", topic=topic, event_type="E")
        for number in range(count)
    ]
    return sorted(await asyncio.gather(*map(log.publish, events)))


async def later(log: EventLog) -> int:
    """Publish one more event of topic t; returns its position."""
    return await log.publish(event_pb2.Event(event_id="later", topic="t", event_type="E"))


async def taken(log: EventLog, after: int, count: int) -> list[int]:
    """Return the positions of the next events of topic t."""
    found: list[int] = []
    async for event in log.follow("t", after):
        found.append(event.sequence)
        if len(found) == count:
            break
    return found


async def note(follower: AsyncIterator[event_pb2.Event], found: list[int]) -> None:
    """Note the positions of all events that a follower yields."""
    async for event in follower:
        found.append(event.sequence)  # noqa: PERF401 - what came before an error counts


async def test_an_expired_position_names_the_first_one(store: Store, clock: ManualClock) -> None:
    async with served(store, socket=True) as mesh:
        log = EventLog(mesh)
        old = await publish(log, "t", 3)
        clock.forward(20)
        new = await later(log)
        await sweep(store, PURGED)

        for after in old[:-1]:
            with pytest.raises(EventPositionExpiredError, match="no longer kept") as refused:
                await taken(log, after, 1)
            error = refused.value
            assert error.status is Status.OUT_OF_RANGE
            assert error.reason == "EVENT_POSITION_EXPIRED"
            assert error.context["first_available"] == str(new)
            with pytest.raises(EventPositionExpiredError):
                await log.read("t", after)
        # With what it names, reading goes on; and who has seen the last that is gone missed none.
        assert await taken(log, int(error.context["first_available"]) - 1, 1) == [new]
        assert await taken(log, old[-1], 1) == [new]


async def test_a_new_subscriber_begins_with_what_is_kept(store: Store, clock: ManualClock) -> None:
    async with served(store) as mesh:
        log = EventLog(mesh)
        old = await publish(log, "t", 3)
        clock.forward(20)
        new = await later(log)
        await sweep(store, PURGED)

        assert await taken(log, 0, 1) == [new]
        assert [event.sequence for event in await log.read("t")] == [new]
        stub = mesh.stub(event_pb2_grpc.EventBusServiceStub, "orchestrator")
        call = stub.Subscribe(event_pb2.SubscribeRequest(topic="t"))
        started = (await anext(aiter(call))).started
        # So it can tell that there were others.
        assert (started.expired_sequence, started.head_sequence) == (old[-1], new)
        call.cancel()


async def test_other_topics_expire_nothing(store: Store, clock: ManualClock) -> None:
    async with served(store) as mesh:
        log = EventLog(mesh)
        (seen,) = await publish(log, "t", 1)
        await publish(log, "busy", 9)
        clock.forward(20)
        await publish(log, "last", 1)
        await sweep(store, PURGED)

        waiting = asyncio.ensure_future(taken(log, seen, 1))
        new = await later(log)
        assert await waiting == [new]


async def test_a_slow_subscriber_is_told_what_it_missed(store: Store, clock: ManualClock) -> None:
    async with served(store) as mesh:
        log = EventLog(mesh)
        old = await publish(log, "t", 700)
        follower = log.follow("t", old[0])
        found = [(await anext(follower)).sequence]
        clock.forward(20)
        new = await later(log)
        await sweep(store, PURGED, limit=1000)

        with pytest.raises(EventPositionExpiredError) as refused:
            await note(follower, found)
        # What it got has no gap, and ends before what the error names.
        assert found == old[1 : 1 + len(found)]
        assert refused.value.context["after_sequence"] == str(found[-1])
        assert refused.value.context["first_available"] == str(new)


async def test_a_subscriber_that_waits_is_told_what_came_and_went(
    store: Store, clock: ManualClock
) -> None:
    async with served(store) as mesh:
        log = EventLog(mesh)
        stub = mesh.stub(event_pb2_grpc.EventBusServiceStub, "orchestrator")
        call = stub.Subscribe(event_pb2.SubscribeRequest(topic="t"))
        assert (await anext(aiter(call))).started.head_sequence == 0
        await later(log)
        await publish(log, "other", 1)
        clock.forward(20)
        await sweep(store, PURGED)

        # It gets the event, or hears that it is gone.
        (outcome,) = await asyncio.gather(anext(aiter(call)), return_exceptions=True)
        if isinstance(outcome, EventPositionExpiredError):
            assert outcome.context["after_sequence"] == "0"
        else:
            assert not isinstance(outcome, BaseException)
            assert outcome.event.event_id == "later"
        call.cancel()


@pytest.mark.parametrize("beyond", [1, 1000, 2**63 - 10])
async def test_a_position_beyond_the_end_is_refused(store: Store, beyond: int) -> None:
    async with served(store) as mesh:
        log = EventLog(mesh)
        await publish(log, "t", 2)
        (end,) = await publish(log, "other", 1)
        with pytest.raises(EventPositionError, match="beyond the end") as refused:
            await taken(log, end + beyond, 1)
        assert not isinstance(refused.value, EventPositionExpiredError)
        assert refused.value.reason == "EVENT_POSITION"
        assert refused.value.context["end"] == str(end)
        # The end of the log is no position beyond it, whatever its topic.
        waiting = asyncio.ensure_future(taken(log, end, 1))
        assert await later(log) == (await waiting)[0]
