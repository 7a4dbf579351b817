"""The pending steps of a workflow as its service tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex.v1 import error_pb2, orchestrator_pb2
from onex_grpc.action.ids import derive_action_id
from onex_grpc.store.history_message import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.model import PendingStep
    from onex_grpc.store.protocol import StateStore

_MOST: Final = 1000


async def pending_steps(
    store: StateStore, workflow_id: str, state: orchestrator_pb2.WorkflowState
) -> Sequence[orchestrator_pb2.PendingStep]:
    """Return the recorded steps of a workflow that have not ended, oldest first; 1,000 at most."""
    if state.status != orchestrator_pb2.WORKFLOW_STATUS_RUNNING:
        return ()
    # The record of a step that has just ended, or of an earlier run, may still be there.
    ended = {result.step_id for result in state.steps}
    steps = [
        step
        for step in await store.list_pending(workflow_id)
        if step.step_id not in ended
        and step.action_id == derive_action_id(workflow_id, state.run, step.step_id)
    ]
    return [_message(step) for step in steps[:_MOST]]


def _message(step: PendingStep) -> orchestrator_pb2.PendingStep:
    message = orchestrator_pb2.PendingStep(
        step_id=step.step_id,
        target_node=step.target,
        attempts=step.attempts,
        first_sent=timestamp(step.issued_us),
    )
    if step.error:
        message.last_error.CopyFrom(error_pb2.ErrorDetail.FromString(step.error))
    if step.retry_us is not None:
        message.retry_in.FromMicroseconds(step.retry_us)
    if step.left_us is not None:
        message.time_left.FromMicroseconds(step.left_us)
    return message
