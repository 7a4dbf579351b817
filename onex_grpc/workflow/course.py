"""The two ways in which a workflow runs: a graph of steps, or a handler of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onex.v1 import common_pb2, orchestrator_pb2
    from onex_grpc.workflow.facts import Workflow
    from onex_grpc.workflow.journal import Journal
    from onex_grpc.workflow.policy import FailurePolicy
    from onex_grpc.workflow.step import StepRunner


class Work(NamedTuple):
    """What a course works with under one lease."""

    workflow: Workflow
    journal: Journal
    runner: StepRunner
    answered: Callable[[Sequence[common_pb2.Data]], None]
    """Is told all responses that are durable."""


class Course(Protocol):
    """What a workflow does; knows nothing of leases, and is the same for all of its terms."""

    @property
    def coordination(self) -> orchestrator_pb2.WorkflowCoordination.ValueType:
        """The pattern of a graph; UNSPECIFIED for a handler."""
        ...

    def check_targets(self) -> None:
        """Raise TargetNotFoundError for a node that never was in the mesh.

        One that is away is waited for.
        """
        ...

    def policy(self, resolution: orchestrator_pb2.ConflictResolution | None) -> FailurePolicy:
        """What a failed step means, where the contract says so or not."""
        ...

    async def run(self, work: Work) -> orchestrator_pb2.WorkflowState:
        """Goes on from where the journal's state stands.

        Returns:
            How the workflow ended: status, error and responses that the state lacks; all the rest
            has been folded.
        """
        ...

    def results(
        self, state: orchestrator_pb2.WorkflowState
    ) -> Sequence[orchestrator_pb2.WorkflowStepResult]:
        """The results of the workflow's own steps."""
        ...

    def total(self, state: orchestrator_pb2.WorkflowState) -> int:
        """How many steps the workflow has."""
        ...
