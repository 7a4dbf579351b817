"""The durable state of a workflow, and how actions change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex.v1 import action_pb2, orchestrator_pb2
from onex_grpc.errors import (
    EpochMismatchError,
    StateConsistencyError,
    TransitionError,
    WorkflowNotFoundError,
)
from onex_grpc.store.keys import workflow_key

if TYPE_CHECKING:
    from onex_grpc.store.model import StateRow
    from onex_grpc.store.protocol import StateStore

WORKFLOW_STATE: Final = orchestrator_pb2.WorkflowState.DESCRIPTOR.full_name
_RUNNING: Final = orchestrator_pb2.WORKFLOW_STATUS_RUNNING


async def read_state(
    store: StateStore, workflow_id: str
) -> tuple[orchestrator_pb2.WorkflowState, int]:
    """Return the state of a workflow and its epoch.

    Raises:
        WorkflowNotFoundError: when the workflow was never started.
        StateConsistencyError: when what is stored under this key is not a workflow's.
    """
    row = await store.get_state(workflow_key(workflow_id))
    if not row.version:
        raise unknown_workflow(workflow_id)
    return parse_state(workflow_id, row), row.version


def unstarted() -> orchestrator_pb2.WorkflowState:
    """Return the state at epoch 0, which START_WORKFLOW changes."""
    return orchestrator_pb2.WorkflowState(status=_RUNNING)


def unknown_workflow(workflow_id: str) -> WorkflowNotFoundError:
    """Return the refusal of a workflow id under which nothing was ever started."""
    return WorkflowNotFoundError(
        f"there is no workflow {workflow_id}; check the id, or start the workflow "
        "(ExecuteOrchestration, or START_WORKFLOW at epoch 0)",
        context={"workflow_id": workflow_id},
    )


def parse_state(workflow_id: str, row: StateRow) -> orchestrator_pb2.WorkflowState:
    """A stored state of a workflow; raises StateConsistencyError where it is none."""
    if row.state_type != WORKFLOW_STATE:
        raise StateConsistencyError(f"{workflow_id} holds a {row.state_type}, not {WORKFLOW_STATE}")
    return orchestrator_pb2.WorkflowState.FromString(row.state)


def apply_action(state: orchestrator_pb2.WorkflowState, action: action_pb2.ModelAction) -> None:
    """Changes a state by a START_WORKFLOW, UPDATE_STATE or ABORT_WORKFLOW.

    Raises:
        EpochMismatchError: when START_WORKFLOW finds a workflow that has begun.
        TransitionError: when the workflow has ended.
    """
    if action.action_type == action_pb2.ACTION_TYPE_START_WORKFLOW and action.epoch:
        raise EpochMismatchError(
            f"the workflow has begun (epoch {action.epoch}); START_WORKFLOW is for epoch 0",
            context={"current": str(action.epoch), "expected": "0"},
        )
    refuse_ended(state)
    if action.action_type == action_pb2.ACTION_TYPE_ABORT_WORKFLOW:
        state.status = orchestrator_pb2.WORKFLOW_STATUS_CANCELLED
    else:
        state.data.CopyFrom(action.command_payload.state)


def fold_result(
    state: orchestrator_pb2.WorkflowState, result: orchestrator_pb2.WorkflowStepResult
) -> None:
    """Adds the result of a task; raises TransitionError when the workflow has ended meanwhile."""
    refuse_ended(state)
    result.run = state.run
    state.steps.append(result)


def refuse_ended(state: orchestrator_pb2.WorkflowState) -> None:
    """Raises TransitionError when a workflow has ended."""
    if state.status != _RUNNING:
        name = orchestrator_pb2.WorkflowStatus.Name(state.status)
        raise TransitionError(
            f"the workflow has ended ({name}); only ROLLBACK_STATE changes it any more"
        )
