"""From the target of a command to the call of a node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from onex.v1 import (
    common_pb2,
    compute_pb2,
    compute_pb2_grpc,
    effect_pb2,
    effect_pb2_grpc,
    intent_pb2_grpc,
    reducer_pb2,
    reducer_pb2_grpc,
)
from onex_grpc.contract.node import parse_target
from onex_grpc.errors import ContractValidationError, NodeUnavailableError, Violation

if TYPE_CHECKING:
    from onex_grpc.action.command import Command
    from onex_grpc.rpc.client import Mesh

_MOST_CALLS: Final = 1000

NodeCall: TypeAlias = Callable[["Command", float | None], Awaitable[common_pb2.Data]]
"""Has a node execute a command, within so many seconds, and returns its result."""


class Router:
    """Knows how to call each target; makes each stub once."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._calls: dict[str, NodeCall] = {}

    def resolve(self, target: str) -> NodeCall:
        """The call of a target, `kind` or `kind/name`.

        Raises:
            TargetNotFoundError: when the mesh has no such node; names those that it has.
            NodeUnavailableError: when the node has left the mesh's registry.
            ContractValidationError: when the target takes no commands.
        """
        call = self._calls.get(target)
        if call is None:
            if len(self._calls) >= _MOST_CALLS:
                # Any client may name targets; with a bare kind among the addresses all are known.
                self._calls.clear()
            call = self._calls[target] = self._connect(target)
        return call

    def check(self, target: str) -> None:
        """Refuse a target that never was in the mesh or takes no commands; not one that is away.

        Raises:
            TargetNotFoundError, ContractValidationError: as `resolve`.
        """
        try:
            self.resolve(target)
        except NodeUnavailableError:
            return

    def queue(self, target: str) -> intent_pb2_grpc.IntentQueueServiceStub:
        """The queue of a reducer, `reducer` or `reducer/name`; raises TargetNotFoundError."""
        return self._mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, target)

    def _connect(self, target: str) -> NodeCall:
        kind = parse_target(target).kind
        if kind != "orchestrator":
            self._mesh.require(target)
        if kind == "effect":
            return _effect_call(self._mesh.stub(effect_pb2_grpc.EffectNodeServiceStub, target))
        if kind == "compute":
            return _compute_call(self._mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, target))
        if kind == "reducer":
            return _reducer_call(self._mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, target))
        raise ContractValidationError.of(
            Violation("target_node", f"{target} takes no commands; give effect, compute or reducer")
        )


def _effect_call(stub: effect_pb2_grpc.EffectNodeServiceStub) -> NodeCall:
    async def call(command: Command, timeout: float | None) -> common_pb2.Data:
        assert isinstance(command, effect_pb2.ModelContractEffect)  # noqa: S101
        return (await stub.ExecuteEffect(command, timeout=timeout)).operation_result

    return call


def _compute_call(stub: compute_pb2_grpc.ComputeNodeServiceStub) -> NodeCall:
    async def call(command: Command, timeout: float | None) -> common_pb2.Data:
        assert isinstance(command, compute_pb2.ModelContractCompute)  # noqa: S101
        return (await stub.ExecuteCompute(command, timeout=timeout)).processed_data

    return call


def _reducer_call(stub: reducer_pb2_grpc.ReducerNodeServiceStub) -> NodeCall:
    async def call(command: Command, timeout: float | None) -> common_pb2.Data:
        assert isinstance(command, reducer_pb2.ModelContractReducer)  # noqa: S101
        return (await stub.ExecuteReduction(command, timeout=timeout)).aggregated_data

    return call
