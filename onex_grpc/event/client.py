"""The event log as its callers see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex.v1 import event_pb2, event_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from onex_grpc.rpc.client import Mesh


class EventLog:
    """Publishes to the log of a node, and follows its topics.

    Args:
        mesh: by which the node is reached.
        node: the node that keeps the log: `kind` or `kind/name`.
    """

    def __init__(self, mesh: Mesh, node: str = "orchestrator") -> None:
        self._stub = mesh.stub(event_pb2_grpc.EventBusServiceStub, node)

    async def publish(self, event: event_pb2.Event) -> int:
        """The event's sequence, once it is durable; the first one where its id was known.

        Raises:
            AlreadyExistsError: when the event_id is that of another content.
            NodeUnavailableError: when the log cannot be reached.
        """
        response = await self._stub.Publish(event_pb2.PublishRequest(event=event))
        return response.sequence

    async def read(self, topic: str, after_sequence: int = 0) -> list[event_pb2.Event]:
        """Return the events that a topic has now, from after a sequence on; all that are kept from
        0 on. Raises as `follow`.
        """
        events: list[event_pb2.Event] = []
        request = event_pb2.SubscribeRequest(topic=topic, after_sequence=after_sequence)
        call = self._stub.Subscribe(request)
        try:
            head = 0
            async for response in call:
                if response.HasField("started"):
                    head = response.started.head_sequence
                else:
                    events.append(response.event)
                if head <= (events[-1].sequence if events else after_sequence):
                    break
        finally:
            call.cancel()
        return events

    async def follow(self, topic: str, after_sequence: int = 0) -> AsyncIterator[event_pb2.Event]:
        """Yield the events of a topic from after a sequence on, then each new one, without end.

        Args:
            topic: the log to follow.
            after_sequence: the last position that was seen; 0 begins with the first that is kept.

        Raises:
            EventPositionExpiredError: when events after the position were purged, before or while
                they are read; `context["first_available"]` is the first position that is kept.
            EventPositionError: when the log ends before the position.
            NodeUnavailableError: when the node stops or cannot be reached.
        """
        request = event_pb2.SubscribeRequest(topic=topic, after_sequence=after_sequence)
        call = self._stub.Subscribe(request)
        try:
            async for response in call:
                if response.HasField("event"):
                    yield response.event
        finally:
            call.cancel()
