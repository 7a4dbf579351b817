"""From a contract to what its workflow does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.contract.node import parse_target
from onex_grpc.errors import ContractValidationError
from onex_grpc.workflow.graph import GraphCourse
from onex_grpc.workflow.imperative import ImperativeCourse
from onex_grpc.workflow.plan import Planner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex.v1 import orchestrator_pb2
    from onex_grpc.action.routing import Router
    from onex_grpc.workflow.course import Course
    from onex_grpc.workflow.handlers import WorkflowHandlers


class Courses:
    """Finds what a contract asks for; where it has a graph, that and no handler."""

    def __init__(self, router: Router, handlers: WorkflowHandlers) -> None:
        self._router = router
        self._handlers = handlers
        self._planner = Planner()

    def of_new(self, contract: orchestrator_pb2.ModelContractOrchestrator) -> Course:
        """The course of a workflow that is asked for.

        Raises:
            ContractValidationError, UnimplementedError: when the contract cannot be carried out.
        """
        if not contract.HasField("workflow_config"):
            self._handlers.check(contract)
        return self.of(contract)

    def of(self, contract: orchestrator_pb2.ModelContractOrchestrator) -> Course:
        """The course of a workflow that has begun, and is past what is checked of new ones.

        Raises:
            ContractValidationError, UnimplementedError: when it cannot go on with this code.
        """
        if contract.HasField("workflow_config"):
            return GraphCourse(self._planner.plan(contract.workflow_config), self._router)
        handler, request = self._handlers.find(contract)
        return ImperativeCourse(handler, request, self._router)

    def reducers_of(self, contract: orchestrator_pb2.ModelContractOrchestrator) -> Sequence[str]:
        """The reducers that the handler of a workflow may call; none where this node has none."""
        try:
            handler, _ = self._handlers.find(contract)
        except ContractValidationError:
            # A rollback is to help where the code has changed, too.
            return ()
        return [node for node in handler.targets if parse_target(node).kind == "reducer"]
