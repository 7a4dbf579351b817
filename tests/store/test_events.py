"""The log of events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from google.protobuf import struct_pb2

from onex.v1 import event_pb2
from onex_grpc.errors import AlreadyExistsError, UnavailableError
from onex_grpc.store import NewEvent, Store

if TYPE_CHECKING:
    from tests.store.conftest import Backend


def _event(key: str, correlation_id: str = "") -> bytes:
    event = event_pb2.Event(topic="orders", key=key, correlation_id=correlation_id)
    return event.SerializeToString(deterministic=True)


async def test_events_are_read_in_their_order(store: Store) -> None:
    for number in range(5):
        await store.publish_event(NewEvent("orders", f"e{number}", b"%d" % number))
        await store.publish_event(NewEvent("other", f"e{number}", b"other"))
    page = await store.read_events("orders", 0, 3)
    assert [event.payload for event in page] == [b"0", b"1", b"2"]
    rest = await store.read_events("orders", page[-1].sequence, 3)
    assert [event.payload for event in rest] == [b"3", b"4"]
    span = await store.event_span("orders")
    assert (span.expired, span.first, span.head) == (0, page[0].sequence, rest[-1].sequence)
    assert span.end == (await store.event_span("other")).head
    assert await store.event_span("empty") == (0, 0, 0, span.end)


async def test_same_event_is_added_once(store: Store) -> None:
    first = await store.publish_event(NewEvent("orders", "e", b"payload"))
    assert await store.publish_event(NewEvent("orders", "e", b"payload")) == first
    assert len(await store.read_events("orders", 0, 10)) == 1
    assert (await store.publish_event(NewEvent("other", "e", b"x"))).sequence > first.sequence


async def test_same_id_with_other_content_is_refused(store: Store) -> None:
    for number, (this, that) in enumerate([(b"this", b"that"), (_event("a"), _event("b"))]):
        await store.publish_event(NewEvent("orders", f"e{number}", this))
        with pytest.raises(AlreadyExistsError):
            await store.publish_event(NewEvent("orders", f"e{number}", that))


async def test_the_correlation_id_is_not_content(store: Store) -> None:
    first = await store.publish_event(NewEvent("orders", "e", _event("a", "c1")))
    assert await store.publish_event(NewEvent("orders", "e", _event("a", "c2"))) == first
    assert len(await store.read_events("orders", 0, 10)) == 1


async def test_what_an_any_was_packed_as_is_not_content(store: Store) -> None:
    def packed(prefix: str, *names: str) -> bytes:
        event = event_pb2.Event(topic="orders")
        for name in names:
            # Entry by entry, as a process with that order of its map would write it.
            entry = struct_pb2.Struct()
            entry[name] = {"deep": 1}
            event.data.message.value += entry.SerializeToString()
        event.data.message.type_url = f"{prefix}/google.protobuf.Struct"
        return event.SerializeToString(deterministic=True)

    first = await store.publish_event(NewEvent("orders", "e", packed("a", "x", "y")))
    again = await store.publish_event(NewEvent("orders", "e", packed("b", "y", "x")))
    assert again == first
    with pytest.raises(AlreadyExistsError):
        await store.publish_event(NewEvent("orders", "e", packed("a", "x", "z")))


async def test_wait_ends_with_the_next_event_of_the_topic(store: Store) -> None:
    first = await store.publish_event(NewEvent("orders", "e1", b""))
    waiting = asyncio.create_task(store.wait_events("orders", first.sequence))
    await store.publish_event(NewEvent("other", "e", b""))
    assert not waiting.done()
    await store.publish_event(NewEvent("orders", "e2", b""))
    await asyncio.wait_for(waiting, 5)


async def test_wait_does_not_miss_what_came_before_it(store: Store) -> None:
    await store.publish_event(NewEvent("orders", "e", b""))
    await asyncio.wait_for(store.wait_events("orders", 0), 5)


async def test_cancelled_waits_leave_the_others_alone(store: Store) -> None:
    waits = [asyncio.create_task(store.wait_events("orders", 0)) for _ in range(3)]
    await asyncio.sleep(0)
    waits[0].cancel()
    await store.publish_event(NewEvent("orders", "e", b""))
    await asyncio.wait_for(asyncio.gather(*waits[1:]), 5)
    assert waits[0].cancelled()


async def test_subscribers_share_one_log(store: Store) -> None:
    async def follow() -> list[bytes]:
        seen: list[bytes] = []
        after = 0
        while len(seen) < 20:
            await store.wait_events("orders", after)
            for event in await store.read_events("orders", after, 7):
                seen.append(event.payload)
                after = event.sequence
        return seen

    followers = [asyncio.create_task(follow()) for _ in range(3)]
    for number in range(20):
        await store.publish_event(NewEvent("orders", f"e{number}", b"%d" % number))
    for seen in await asyncio.wait_for(asyncio.gather(*followers), 20):
        assert seen == [b"%d" % number for number in range(20)]


async def test_closing_ends_open_waits(backend: Backend) -> None:
    store = await backend.open()
    await store.claim_intents("w", 1, 1)
    waits = [
        asyncio.create_task(store.wait_events("orders", 0)),
        asyncio.create_task(store.wait_intents(None)),
    ]
    await asyncio.sleep(0)
    await store.close()
    for outcome in await asyncio.wait_for(asyncio.gather(*waits, return_exceptions=True), 5):
        assert isinstance(outcome, UnavailableError)
