"""An effect node that drains takes no more intents, while its calls finish."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from google.protobuf import wrappers_pb2

from onex.v1 import (
    effect_pb2,
    effect_pb2_grpc,
    intent_pb2,
    intent_pb2_grpc,
    node_pb2,
    reducer_pb2_grpc,
)
from onex_grpc.node import NodeEffect
from onex_grpc.rpc import CallRuntime
from onex_grpc.testing.mesh import LocalMesh
from tests.mesh.intents.making import custom, emission
from tests.mesh.intents.nodes import Emitter

if TYPE_CHECKING:
    from onex_grpc.effect import CustomCall, CustomOperations

Text = wrappers_pb2.StringValue


class Slow(NodeEffect):
    """Does what it is asked for when it may."""

    descriptor = node_pb2.NodeDescriptor(name="slow", version="1.0.0")

    def register_operations(self, operations: CustomOperations) -> None:
        """One operation, which waits."""
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        operations.add(Text, self._wait)

    async def _wait(self, message: Text, call: CustomCall) -> str:
        self.begun.set()
        await self.go_on.wait()
        return "done"


def runtime_of(mesh: LocalMesh, node: type[NodeEffect] | type[Emitter]) -> CallRuntime:
    return mesh.node(node).container.get_service(CallRuntime)


async def taking(mesh: LocalMesh, workers: int) -> None:
    """Returns when so many workers hold streams to the queue."""
    async with asyncio.timeout(5):
        while runtime_of(mesh, Emitter).in_flight != workers:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)


async def test_a_draining_node_takes_no_more_intents() -> None:
    async with LocalMesh([Emitter, Slow]) as mesh:
        effects = mesh.stub(effect_pb2_grpc.EffectNodeServiceStub, "effect")
        contract = effect_pb2.ModelContractEffect(
            io_operation_config=effect_pb2.IoOperationConfig(operation=custom("x").payload)
        )
        calling = asyncio.ensure_future(effects.ExecuteEffect(contract))
        slow = mesh.node(Slow)
        await slow.begun.wait()
        await taking(mesh, workers=1)
        runtime_of(mesh, Slow).refuse_new()
        await taking(mesh, workers=0)
        reducer = mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
        await reducer.ExecuteReduction(emission("a", custom("y")))
        queue = mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, "reducer")
        stats = await queue.GetQueueStats(intent_pb2.GetQueueStatsRequest())
        assert (stats.pending, stats.in_flight) == (1, 0)
        slow.go_on.set()
        assert (await calling).metadata.attempts == 1
