"""The commands that actions and steps carry to nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from onex.v1 import action_pb2, compute_pb2, effect_pb2, orchestrator_pb2, reducer_pb2

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

Command: TypeAlias = (
    effect_pb2.ModelContractEffect
    | compute_pb2.ModelContractCompute
    | reducer_pb2.ModelContractReducer
)


def action_command(payload: action_pb2.ActionPayload) -> Command:
    """The command for a node in a payload, which has one."""
    if payload.HasField("effect"):
        return payload.effect
    return payload.compute if payload.HasField("compute") else payload.reducer


def copy_step_command(step: orchestrator_pb2.WorkflowStep) -> Command:
    """A copy of a step's parameters, for bindings and ids to be filled in."""
    if step.HasField("effect"):
        effect = effect_pb2.ModelContractEffect()
        effect.CopyFrom(step.effect)
        return effect
    if step.HasField("compute"):
        compute = compute_pb2.ModelContractCompute()
        compute.CopyFrom(step.compute)
        return compute
    reducer = reducer_pb2.ModelContractReducer()
    reducer.CopyFrom(step.reducer)
    return reducer


def complete(
    command: Command, *, correlation_id: str, action_id: str, issued_at: Timestamp
) -> None:
    """Fills in what a command leaves to its action: the ids by which a repeat is recognised."""
    if not command.correlation_id:
        command.correlation_id = correlation_id
    if isinstance(command, reducer_pb2.ModelContractReducer):
        if not command.action_id:
            command.action_id = action_id
        if not command.HasField("issued_at"):
            command.issued_at.CopyFrom(issued_at)
        return
    if isinstance(command, effect_pb2.ModelContractEffect):
        io = command.io_operation_config
        io.idempotency_key = io.idempotency_key or action_id
