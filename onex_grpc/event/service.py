"""EventBusService over a store: an append-only log of events by topic."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from onex.v1 import event_pb2, event_pb2_grpc
from onex_grpc.context import current_call
from onex_grpc.errors import NodeUnavailableError
from onex_grpc.store.event_positions import check_position
from onex_grpc.store.model import NewEvent, StoredEvent
from onex_grpc.store.old_repeats import OldRepeats
from onex_grpc.store.portion import Portion
from onex_grpc.store.retention import DEFAULT_RETENTION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from onex_grpc.store.protocol import EventStore
    from onex_grpc.store.retention import Retention

_PAGE: Final = 256
_PAGE_BYTES: Final = 1024 * 1024


class EventBus(event_pb2_grpc.EventBusServiceServicer):
    """Publishes into the store, and pushes from it to those who follow a topic.

    Args:
        store: that of the node, which keeps the log.
        draining: returns when the node stops, so that subscriptions end.
        retention: how long the store keeps an event.
    """

    def __init__(
        self,
        store: EventStore,
        draining: Callable[[], Awaitable[object]] | None = None,
        retention: Retention = DEFAULT_RETENTION,
    ) -> None:
        self._store = store
        self._old_repeats = OldRepeats(retention.events_us, "events")
        self._draining = draining or asyncio.Event().wait

    async def Publish(
        self, request: event_pb2.PublishRequest, context: object
    ) -> event_pb2.PublishResponse:
        """Adds an event; durable before it returns.

        Raises:
            AlreadyExistsError: when the event_id is that of another content.
            OutcomeUnknownError: for a repeat so late that the event may have been removed.
        """
        event = request.event
        call = current_call()
        if call is not None and self._old_repeats.includes(call.issued_us):
            await self._refuse_unknown(event, call.issued_us)
        if not event.correlation_id and call is not None:
            event.correlation_id = call.correlation_id
        payload = event.SerializeToString(deterministic=True)
        stored = await self._store.publish_event(NewEvent(event.topic, event.event_id, payload))
        return event_pb2.PublishResponse(sequence=stored.sequence)

    async def _refuse_unknown(self, event: event_pb2.Event, issued_us: int) -> None:
        if await self._store.find_event(event.topic, event.event_id) is None:
            what = f"event {event.event_id} of topic {event.topic}"
            raise self._old_repeats.refusal(what, issued_us)

    async def Subscribe(
        self, request: event_pb2.SubscribeRequest, context: object
    ) -> AsyncIterator[event_pb2.SubscribeResponse]:
        """Send the backlog of a topic and then each new event, in order and without gaps.

        Raises:
            EventPositionExpiredError: when events after the position were purged, before or while
                the subscriber reads; it names the first position that is available.
            EventPositionError: when the log ends before the position.
            NodeUnavailableError: when the node stops; subscribe again after the last sequence.
        """
        topic, after = request.topic, request.after_sequence
        span = await self._store.event_span(topic)
        if after:
            check_position(topic, after, span)
        started = event_pb2.SubscriptionStarted(
            head_sequence=span.head, expired_sequence=span.expired
        )
        yield event_pb2.SubscribeResponse(started=started)
        closing: asyncio.Future[object] = asyncio.ensure_future(self._draining())
        try:
            async for stored in self._stored(topic, after or span.expired, closing):
                yield event_pb2.SubscribeResponse(event=_event(stored))
        finally:
            closing.cancel()
        raise NodeUnavailableError("the event bus is stopping; subscribe again")

    async def _stored(
        self, topic: str, after: int, closing: asyncio.Future[object]
    ) -> AsyncIterator[StoredEvent]:
        """Yield the events of a topic until the node stops."""
        portion = Portion(_PAGE, _PAGE_BYTES)
        while not closing.done():
            page = await self._store.read_events(topic, after, portion.rows)
            portion.learn([len(stored.payload) for stored in page])
            for stored in page:
                yield stored
                after = stored.sequence
            if not page:
                await self._grown(topic, after, closing)

    async def _grown(self, topic: str, after: int, closing: asyncio.Future[object]) -> None:
        """Returns when the topic has an event after a sequence, or the node stops."""
        grown = asyncio.ensure_future(self._store.wait_events(topic, after))
        try:
            await asyncio.wait((grown, closing), return_when=asyncio.FIRST_COMPLETED)
            if grown.done():
                grown.result()
        finally:
            grown.cancel()


def _event(stored: StoredEvent) -> event_pb2.Event:
    event = event_pb2.Event.FromString(stored.payload)
    event.sequence = stored.sequence
    event.published_at.FromMicroseconds(stored.published_us)
    return event
