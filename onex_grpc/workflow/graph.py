"""Workflows that are a graph of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex.v1 import common_pb2, orchestrator_pb2
from onex_grpc.action.command import complete, copy_step_command
from onex_grpc.errors import OnexError, WorkflowExecutionError
from onex_grpc.rpc.status import error_detail
from onex_grpc.workflow.binding import INPUT
from onex_grpc.workflow.coordination import Coordination
from onex_grpc.workflow.policy import FailurePolicy
from onex_grpc.workflow.step import Send, StepOutcome, StepRunner, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.timestamp_pb2 import Timestamp

    from onex_grpc.action.routing import Router
    from onex_grpc.workflow.course import Work
    from onex_grpc.workflow.facts import Workflow
    from onex_grpc.workflow.plan import Plan, PlannedStep


class GraphCourse:
    """Runs the steps of a plan."""

    def __init__(self, plan: Plan, router: Router) -> None:
        self._plan = plan
        self._router = router

    @property
    def coordination(self) -> orchestrator_pb2.WorkflowCoordination.ValueType:
        """The pattern of the graph."""
        return self._plan.coordination

    def check_targets(self) -> None:
        """Raise TargetNotFoundError for the node of a step that never was in the mesh."""
        for step in self._plan.steps:
            self._router.check(step.target)

    def policy(self, resolution: orchestrator_pb2.ConflictResolution | None) -> FailurePolicy:
        """That of the contract; a workflow without one is aborted by the first failure."""
        return FailurePolicy(resolution or orchestrator_pb2.ConflictResolution())

    async def run(self, work: Work) -> orchestrator_pb2.WorkflowState:
        """Runs what is left of the graph."""
        workflow, journal = work.workflow, work.journal
        values = {INPUT: workflow.contract.initial_state}
        runner = GraphRunner(workflow, work.runner, self._router, values)
        coordination = Coordination(self._plan, journal, runner, values)
        coordination.restore(list(journal.state.steps))
        await coordination.run()
        if not coordination.failures:
            return orchestrator_pb2.WorkflowState(status=orchestrator_pb2.WORKFLOW_STATUS_COMPLETED)
        failure = _failure(workflow, coordination.failures)
        return orchestrator_pb2.WorkflowState(
            status=orchestrator_pb2.WORKFLOW_STATUS_FAILED, error=error_detail(failure)
        )

    def results(
        self, state: orchestrator_pb2.WorkflowState
    ) -> Sequence[orchestrator_pb2.WorkflowStepResult]:
        """In the order in which the steps are written."""
        results = {result.step_id: result for result in state.steps}
        return [results[s.step_id] for s in self._plan.steps if s.step_id in results]

    def total(self, state: orchestrator_pb2.WorkflowState) -> int:
        """All steps of the graph, those that were not run among them."""
        return len(self._plan.steps)


class GraphRunner:
    """Runs planned steps: fills their parameters and finds who does them."""

    def __init__(
        self,
        workflow: Workflow,
        runner: StepRunner,
        router: Router,
        values: dict[str, common_pb2.Data],
    ) -> None:
        """Takes `values`, the outputs so far by variable."""
        self._workflow = workflow
        self._runner = runner
        self._router = router
        self._values = values

    async def run(self, step: PlannedStep) -> StepOutcome:
        """As StepRunner.run."""

        def prepare(action_id: str, issued_at: Timestamp) -> Send:
            return self._prepare(step, action_id, issued_at)

        task = Task(step.step_id, step.step_id, step.target, prepare, step.within)
        return await self._runner.run(task)

    def _prepare(self, step: PlannedStep, action_id: str, issued_at: Timestamp) -> Send:
        workflow = self._workflow
        command = copy_step_command(workflow.contract.workflow_config.steps[step.index])
        for binding in step.bindings:
            binding.fill(command, self._values)
        complete(
            command,
            correlation_id=workflow.correlation_id,
            action_id=action_id,
            issued_at=issued_at,
        )
        # Resolved at each attempt: the node may be away now, and be back for the next one.
        return lambda: self._router.resolve(step.target)(command, step.timeout)


def _failure(
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
