"""A topic of the mesh's event log as a target: the log keeps the event's id, hence exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from onex.v1 import common_pb2, event_pb2
from onex_grpc.effect.operation import EffectRequest, Progress, Repeat
from onex_grpc.effect.refusal import refuse_kind
from onex_grpc.effect.target import Outcome, Plan
from onex_grpc.event.client import EventLog

if TYPE_CHECKING:
    from onex_grpc.effect.settings import EventLogTarget
    from onex_grpc.rpc.client import Mesh


class EventTopic:
    """Publishes events to one topic."""

    kind = "event_log"
    keeps_outcomes = True

    def __init__(self, settings: EventLogTarget, mesh: Mesh) -> None:
        self._topic = settings.topic
        self._log = EventLog(mesh, settings.bus)

    async def open(self) -> None:
        """Nothing to open: the mesh connects when it is used."""

    async def close(self) -> None:
        """Nothing to close: the mesh is not the target's own."""

    def plan(self, request: EffectRequest) -> Plan:
        """The event; without a key it gets a random id, the same for all attempts."""
        refuse_kind(request, "message")
        message = request.operation.message
        event = event_pb2.Event(
            event_id=request.key or str(uuid4()),
            topic=self._topic,
            event_type=message.event_type,
            key=message.key,
            correlation_id=request.correlation_id,
        )
        if message.HasField("data"):
            event.data.CopyFrom(message.data)

        async def perform(progress: Progress) -> Outcome:
            progress.begun = True
            await self._log.publish(event)
            data = common_pb2.Data()
            data.value.string_value = event.event_id
            return Outcome(data)

        return Plan(True, Repeat.KEYED if request.key else Repeat.OWN_KEY, perform)
