"""What a workflow that has ended gives to whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex.v1 import orchestrator_pb2
from onex_grpc.errors import OnexError, WorkflowExecutionError
from onex_grpc.rpc.status import from_detail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.workflow.facts import Workflow


def make_output(
    workflow: Workflow, state: orchestrator_pb2.WorkflowState, *, lease_id: str, epoch: int
) -> orchestrator_pb2.ModelOrchestratorOutput:
    """The output of a workflow that has completed or was cancelled, made of its last state.

    Raises:
        WorkflowExecutionError: when it failed.
    """
    if state.status == orchestrator_pb2.WORKFLOW_STATUS_FAILED:
        raise from_detail(state.error)
    plan = workflow.plan
    results = {result.step_id: result for result in state.steps}
    written = [results[step.step_id] for step in plan.steps if step.step_id in results]
    completed = sum(r.status == orchestrator_pb2.STEP_STATUS_COMPLETED for r in written)
    return orchestrator_pb2.ModelOrchestratorOutput(
        correlation_id=workflow.correlation_id,
        workflow_id=workflow.workflow_id,
        orchestration_result=orchestrator_pb2.OrchestrationResult(
            status=state.status, step_results=written
        ),
        execution_metadata=orchestrator_pb2.OrchestrationMetadata(
            total_steps=len(plan.steps),
            execution_time=state.execution_time if state.HasField("execution_time") else None,
            success_rate=completed / len(plan.steps),
            coordination_type=plan.coordination,
        ),
        lease_id=lease_id,
        epoch=epoch,
    )


def workflow_failure(
    workflow: Workflow, failures: Sequence[tuple[str, OnexError]]
) -> WorkflowExecutionError:
    """The error of a workflow whose steps (id, error) failed for good; the first one leads."""
    step_id, first = failures[0]
    return WorkflowExecutionError(
        f"workflow {workflow.workflow_id} failed at step {step_id}: {first.message}",
        context={"workflow_id": workflow.workflow_id, "step_id": step_id},
        causes=[error for _, error in failures],
        correlation_id=workflow.correlation_id,
    )
