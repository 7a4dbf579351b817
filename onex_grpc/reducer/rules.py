"""The pure part of a reducer: which transition, its run on a copy, and whether it ended well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from google.protobuf.message import Message

from onex_grpc.errors import OnexError
from onex_grpc.reducer.model import ReducerAction, Reduction

if TYPE_CHECKING:
    from collections.abc import Callable

    from onex_grpc.reducer.checked_machine import CheckedMachine

S = TypeVar("S", bound=Message)


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """What the pure part came to; the names of states are empty without a machine."""

    reduction: Reduction[S]
    previous: str
    new: str


@dataclass(frozen=True, slots=True)
class ReducerRules(Generic[S]):
    """What is particular to one reducer.

    Attributes:
        node: its full name, e.g. reducer/orders.
        state_type: the message of its states.
        initial: makes the state of an entity to which nothing has happened yet.
        transition: the user's δ.
        machine: what it may do; None where everything is allowed.
        settle: checks an action before machine and transition see it, and completes it; pure.
    """

    node: str
    state_type: type[S]
    initial: Callable[[], S]
    transition: Callable[[S, ReducerAction], Reduction[S]]
    machine: CheckedMachine | None
    settle: Callable[[ReducerAction], ReducerAction]

    def apply(self, state: S, action: ReducerAction) -> Step[S]:
        """Runs the transition on a copy of the state.

        Raises:
            ContractValidationError: an unknown action or a wrong payload.
            TransitionError, GuardRejectedError: the state does not allow the action.
            StateConsistencyError: it ended in a state that is not among its targets.
            OnexError: it did not return a Reduction with a state of the right type.
        """
        action = self.settle(action)
        machine = self.machine
        if machine is None:
            return Step(self._run(state, action), "", "")
        chosen = machine.select(state, action)
        reduction = self._run(state, action)
        new = machine.confirm(chosen, reduction.state)
        return Step(reduction, machine.name_of(state), new)

    def _run(self, state: S, action: ReducerAction) -> Reduction[S]:
        own = self.state_type()
        own.CopyFrom(state)
        reduction: object = self.transition(own, action)
        if not isinstance(reduction, Reduction) or type(reduction.state) is not self.state_type:
            raise OnexError(
                f"{self.node}: transition returned no Reduction with a"
                f" {self.state_type.DESCRIPTOR.full_name} for {action.name}"
            )
        return reduction
