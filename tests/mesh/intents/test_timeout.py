"""An effect that hangs is a failed attempt, and frees its place for the other intents."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from google.protobuf import wrappers_pb2

from onex.v1 import effect_pb2, intent_pb2, intent_pb2_grpc, node_pb2, reducer_pb2_grpc
from onex_grpc.node import NodeEffect
from onex_grpc.serve import Settings
from onex_grpc.testing.mesh import LocalMesh
from tests.mesh.intents.making import custom, emission
from tests.mesh.intents.nodes import Emitter, Log

if TYPE_CHECKING:
    from onex_grpc.effect import CustomCall, CustomOperations

Text = wrappers_pb2.StringValue
NOT_MORE_THAN_ONE = Settings(intents_in_flight=1, intent_timeout=0.05)


class _Hanging(NodeEffect):
    descriptor = node_pb2.NodeDescriptor(name="hanging", version="1.0.0")

    async def _hang(self, message: Text, call: CustomCall) -> str:
        if message.value == "hang":
            await asyncio.Event().wait()
        return "done"


class Unrepeatable(_Hanging):
    def register_operations(self, operations: CustomOperations) -> None:
        operations.add(Text, self._hang)


class HangsOnce(_Hanging):
    attempts = 0

    def register_operations(self, operations: CustomOperations) -> None:
        operations.add_idempotent(Text, self._only_at_first)

    async def _only_at_first(self, message: Text, call: CustomCall) -> str:
        self.attempts += 1
        if self.attempts == 1:
            await asyncio.Event().wait()
        return "done"


class Deaf(_Hanging):
    """Does not heed its cancellation."""

    def register_operations(self, operations: CustomOperations) -> None:
        operations.add(Text, self._ignore)

    async def _ignore(self, message: Text, call: CustomCall) -> str:
        while message.value == "hang" and not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue
        return "done"


class Overridden(_Hanging):
    """Knows nothing of the contract's timeout."""

    async def execute_effect(
        self, contract: effect_pb2.ModelContractEffect
    ) -> effect_pb2.ModelEffectOutput:
        text = Text()
        contract.io_operation_config.operation.custom.Unpack(text)
        if text.value == "hang":
            await asyncio.Event().wait()
        return effect_pb2.ModelEffectOutput()


released = asyncio.Event()


async def _settled(mesh: LocalMesh, total: int) -> intent_pb2.GetQueueStatsResponse:
    queue = mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, "reducer")
    while True:
        stats = await queue.GetQueueStats(intent_pb2.GetQueueStatsRequest())
        if stats.completed + stats.dead == total:
            return stats
        await asyncio.sleep(0.005)


async def _dead(mesh: LocalMesh) -> list[intent_pb2.QueuedIntent]:
    queue = mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, "reducer")
    dead = intent_pb2.ListIntentsRequest(status=intent_pb2.INTENT_STATUS_DEAD)
    return list((await queue.ListIntents(dead)).intents)


@pytest.mark.parametrize("effect", [Unrepeatable, Deaf, Overridden])
async def test_what_must_not_be_repeated_is_dead_and_the_next_is_done(
    effect: type[NodeEffect],
) -> None:
    released.clear()
    async with LocalMesh([Emitter, effect, Log], settings=NOT_MORE_THAN_ONE) as mesh:
        reducer = mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
        await reducer.ExecuteReduction(emission("a", custom("hang"), custom("next")))
        stats = await asyncio.wait_for(_settled(mesh, 2), 10)
        assert (stats.completed, stats.dead) == (1, 1)
        (dead,) = await _dead(mesh)
        released.set()
    assert (dead.attempts, dead.last_error.reason) == (1, "OUTCOME_UNKNOWN")
    assert "look at the target" in dead.last_error.message


async def test_what_may_be_repeated_is_tried_again() -> None:
    async with LocalMesh([Emitter, HangsOnce, Log], settings=NOT_MORE_THAN_ONE) as mesh:
        reducer = mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
        await reducer.ExecuteReduction(emission("a", custom("x")))
        stats = await asyncio.wait_for(_settled(mesh, 1), 10)
        assert mesh.node(HangsOnce).attempts == 2
    assert (stats.completed, stats.dead) == (1, 0)
