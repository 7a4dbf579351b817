"""ORCHESTRATOR nodes that are generated: workflows as durable code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from onex_grpc.errors import ConfigurationError, ContractValidationError, Violation
from onex_grpc.node.orchestrator import NodeOrchestrator
from onex_grpc.rpc.client import Mesh
from onex_grpc.typed.key import key_of
from onex_grpc.typed.node import TypedNode
from onex_grpc.typed.orchestrator_door import OrchestratorDoor
from onex_grpc.typed.steps import StepCaller, StepMethods
from onex_grpc.workflow.calls import WorkflowCall
from onex_grpc.workflow.handlers import WorkflowHandler, WorkflowHandlers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping

    from google.protobuf.message import Message

    from onex_grpc.rpc.calls import Handler
    from onex_grpc.typed.client import Caller
    from onex_grpc.typed.contract import Rpc
    from onex_grpc.workflow.calls import StepCalls

__all__ = ["TypedOrchestrator", "WorkflowCall", "WorkflowMesh"]

_INPUT = "initial_state"


class WorkflowMesh:
    """Base of the generated meshes: the nodes that an orchestrator's workflows may call."""

    def __init__(self, calls: StepCalls, methods: StepMethods) -> None:
        """Made by the orchestrator for each run of a handler."""
        self._calls = calls
        self._methods = methods

    def _caller_of(self, node: str) -> Caller:
        """The caller of a node, `kind/name`, whose calls are steps of the workflow."""
        return StepCaller(self._calls, self._methods, node)


class TypedOrchestrator(TypedNode, NodeOrchestrator):
    """Base of generated orchestrators; the user writes one `async def` for each rpc.

    It is durable: after a crash it is run again from its beginning, and each call that it made
    through its mesh is answered as it was before. So it must be deterministic between its calls:
    time and ids come from its WorkflowCall.
    """

    mesh_type: ClassVar[type[WorkflowMesh]]

    def __init_subclass__(cls, **arguments: object) -> None:
        super().__init_subclass__(**arguments)
        if hasattr(cls, "contract") and not cls.contract.key:
            raise ConfigurationError(
                f"the contract of {cls.__name__} has no key, so no request names its workflow;"
                " give (onex.v1.node) a key"
            )

    def register_workflows(self, handlers: WorkflowHandlers) -> None:
        """Offers the methods of the rpcs."""
        methods = StepMethods(self.container.get_service(Mesh))
        for rpc in self.contract.rpcs:
            handlers.offer(self._workflow(rpc, methods))

    def _handlers(self) -> Mapping[str, Handler]:
        door = OrchestratorDoor(
            self.execute_orchestration, self.engine.follow, self.contract.key, self._constraints
        )
        return {rpc.name: door.handler(rpc) for rpc in self.contract.rpcs}

    def _workflow(self, rpc: Rpc[Message, Message], methods: StepMethods) -> WorkflowHandler:
        # Its type is that of the generated method, which the type checker has seen.
        method: Any = getattr(self, rpc.method)

        def run(request: Message, calls: StepCalls) -> Awaitable[Message] | AsyncIterator[Message]:
            answer: Awaitable[Message] | AsyncIterator[Message] = method(
                request, self.mesh_type(calls, methods), calls.workflow
            )
            return answer

        return WorkflowHandler(
            name=rpc.full_name,
            request=rpc.request,
            run=run,
            response=rpc.response,
            retry=rpc.retry,
            targets=self.contract.depends_on,
            check=self._check,
        )

    def _check(self, request: Message, workflow_id: str) -> None:
        path = self.contract.key
        if (said := key_of(request, path)) != workflow_id:
            raise ContractValidationError.of(
                Violation(
                    f"{_INPUT}.{path}",
                    f"is {said!r:.80}, but workflow_id is {workflow_id!r:.80}; give both the same",
                )
            )
        self._constraints.check(request, _INPUT)
