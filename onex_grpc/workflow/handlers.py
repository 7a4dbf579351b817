"""Workflows that are code of the user's own: handlers, by the type of their request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from onex.v1 import common_pb2, orchestrator_pb2
from onex_grpc.contract import data
from onex_grpc.errors import ConfigurationError, ContractValidationError, Violation
from onex_grpc.workflow.policy import FailurePolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from google.protobuf.message import Message

    from onex_grpc.workflow.calls import StepCalls

Handler: TypeAlias = "Callable[[Any, StepCalls], Awaitable[Message] | AsyncIterator[Message]]"
"""Runs a workflow: (request, its calls) -> response; an async generator gives many."""

_INPUT: Final = "initial_state"


def _anything(request: Message, workflow_id: str) -> None:
    """Finds no fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowHandler:
    """One handler.

    Attributes:
        name: for people: what is run.
        request: type of its request's message.
        run: the handler itself.
        response: type of its responses; None allows any.
        retry: how steps that meet an outage are repeated; None for without end.
        targets: the nodes that it calls.
        check: finds faults of a request for a workflow id before it is begun; raises
            ContractValidationError.
    """

    name: str
    request: type[Message]
    run: Handler
    response: type[Message] | None = None
    retry: common_pb2.RetryPolicy | None = None
    targets: Sequence[str] = ()
    check: Callable[[Any, str], None] = field(default=_anything)

    def policy(self, resolution: orchestrator_pb2.ConflictResolution | None) -> FailurePolicy:
        """Return what the contract says; else how the handler's steps wait for outages."""
        return FailurePolicy(
            resolution or orchestrator_pb2.ConflictResolution(retry_config=self.retry)
        )


class WorkflowHandlers:
    """The handlers of an orchestrator."""

    def __init__(self) -> None:
        self._handlers: dict[str, WorkflowHandler] = {}

    def offer(self, handler: WorkflowHandler) -> None:
        """Offers a handler for workflows whose initial_state is a message of its request's type.

        Raises:
            ConfigurationError: when the type has one.
        """
        name = handler.request.DESCRIPTOR.full_name
        if name in self._handlers:
            raise ConfigurationError(
                f"two workflows begin with a {name}; give each a request type of its own"
            )
        self._handlers[name] = handler

    def names(self) -> Sequence[str]:
        """What the handlers are called, sorted."""
        return sorted(handler.name for handler in self._handlers.values())

    def find(
        self, contract: orchestrator_pb2.ModelContractOrchestrator
    ) -> tuple[WorkflowHandler, Message]:
        """The handler of a contract without a graph, and its request.

        Raises:
            ContractValidationError: when there is none; names those that there are.
        """
        initial = contract.initial_state
        if initial.WhichOneof("content") != "message":
            raise ContractValidationError.of(
                Violation(_INPUT, f"is no message; without a workflow_config, {self._known()}")
            )
        name = initial.message.TypeName()
        handler = self._handlers.get(name)
        if handler is None:
            raise ContractValidationError.of(
                Violation(_INPUT, f"no workflow begins with a {name}; {self._known()}")
            )
        try:
            request = data.unpack_as(initial, handler.request)
        except ContractValidationError as error:
            faults = (Violation(_INPUT, fault.description) for fault in error.violations)
            raise ContractValidationError.of(*faults) from None
        return handler, request

    def check(self, contract: orchestrator_pb2.ModelContractOrchestrator) -> None:
        """Finds faults of a workflow that is asked for; one that has begun is past that.

        Raises:
            ContractValidationError: as `find`, and for what the handler does not take.
        """
        handler, request = self.find(contract)
        if contract.conflict_resolution.continue_on_error:
            raise ContractValidationError.of(
                Violation(
                    "conflict_resolution.continue_on_error",
                    "is for graphs; a handler catches the errors of its steps itself",
                )
            )
        handler.check(request, contract.workflow_id)

    def _known(self) -> str:
        if not self._handlers:
            return "this orchestrator runs only graphs: send one in workflow_config"
        return f"it is a message of: {', '.join(sorted(self._handlers))}"
