"""The audit counts what lies in the event log, also while the orchestrator is restarted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex.v1 import event_pb2, event_pb2_grpc
from onex_grpc.errors import NodeUnavailableError
from onex_grpc.event import EventBus
from onex_grpc.rpc import CallRuntime, LocalServer, Mesh
from onex_grpc.store.opening import open_store
from onex_grpc.telemetry import NO_TELEMETRY
from servers.audit import TOPIC, count_events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Restarting(EventBus):
    """A log whose process dies in the middle of the first stream."""

    died = False

    async def Subscribe(
        self, request: event_pb2.SubscribeRequest, context: object
    ) -> AsyncIterator[event_pb2.SubscribeResponse]:
        seen = 0
        async for message in super().Subscribe(request, context):
            yield message
            seen += 1
            if seen == 2 and not self.died:
                self.died = True
                raise NodeUnavailableError("restarting")


async def test_events_are_counted_once_over_a_restart(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "orchestrator.db")
    server = LocalServer(CallRuntime(node="orchestrator/orders", telemetry=NO_TELEMETRY))
    bus = Restarting(store, None)
    server.add(event_pb2_grpc.add_EventBusServiceServicer_to_server, bus)
    mesh = Mesh({"orchestrator/orders": server})
    stub = mesh.stub(event_pb2_grpc.EventBusServiceStub, "orchestrator")
    for number, key in enumerate(("1", "2", "2", "other")):
        event = event_pb2.Event(
            topic=TOPIC, event_id=f"e{number}", event_type="ORDER_PLACED", key=key
        )
        await stub.Publish(event_pb2.PublishRequest(event=event))
    assert await count_events(mesh, {"1", "2"}) == {"1": 1, "2": 2}
    assert bus.died
    await mesh.close()
    await store.close()
