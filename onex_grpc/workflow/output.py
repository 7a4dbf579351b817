"""What a workflow that has ended gives to whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex.v1 import orchestrator_pb2
from onex_grpc.errors import CallCancelledError, WorkflowExecutionError
from onex_grpc.rpc.status import from_detail

if TYPE_CHECKING:
    from onex_grpc.workflow.facts import Workflow


def make_output(
    workflow: Workflow, state: orchestrator_pb2.WorkflowState, *, lease_id: str, epoch: int
) -> orchestrator_pb2.ModelOrchestratorOutput:
    """The output of a workflow that has completed or was cancelled, made of its last state.

    Raises:
        OnexError: that of the workflow, when it failed.
    """
    if state.status == orchestrator_pb2.WORKFLOW_STATUS_FAILED:
        raise from_detail(state.error)
    course = workflow.course
    results = course.results(state)
    total = course.total(state)
    completed = sum(r.status == orchestrator_pb2.STEP_STATUS_COMPLETED for r in results)
    return orchestrator_pb2.ModelOrchestratorOutput(
        correlation_id=workflow.correlation_id,
        workflow_id=workflow.workflow_id,
        orchestration_result=orchestrator_pb2.OrchestrationResult(
            status=state.status, step_results=results, responses=state.responses
        ),
        execution_metadata=orchestrator_pb2.OrchestrationMetadata(
            total_steps=total,
            execution_time=state.execution_time if state.HasField("execution_time") else None,
            # A handler may do without any step.
            success_rate=completed / total if total else 1.0,
            coordination_type=course.coordination,
        ),
        lease_id=lease_id,
        epoch=epoch,
    )


def status_of(state: orchestrator_pb2.WorkflowState) -> str:
    """The gRPC status with which a workflow that has ended is answered, for its span."""
    if state.status != orchestrator_pb2.WORKFLOW_STATUS_FAILED:
        return "OK"
    return from_detail(state.error).status.name


def refuse_cancelled(output: orchestrator_pb2.ModelOrchestratorOutput) -> None:
    """Raises WorkflowExecutionError (CANCELLED) for a workflow that an action has ended."""
    if output.orchestration_result.status == orchestrator_pb2.WORKFLOW_STATUS_CANCELLED:
        text = f"workflow {output.workflow_id} was aborted"
        raise WorkflowExecutionError(
            f"{text}; it gives no further response",
            context={"workflow_id": output.workflow_id},
            causes=(CallCancelledError(text),),
        )
