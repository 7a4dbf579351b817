"""A state machine that has been checked, and what it says to a state and an action."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from onex_grpc.errors import (
    ContractValidationError,
    GuardRejectedError,
    StateConsistencyError,
    TransitionError,
    Violation,
)
from onex_grpc.reducer.machine_check import check_machine, compile_guard, states_of
from onex_grpc.reducer.model import PAYLOAD

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from onex_grpc.contract.expression import Expression
    from onex_grpc.reducer.machine import StateMachine, Transition
    from onex_grpc.reducer.model import ReducerAction


class _Way(NamedTuple):
    transition: Transition
    guard: Expression | None


class CheckedMachine:
    """A state machine bound to the type of the state's message.

    Raises:
        ConfigurationError: when made of a machine that cannot work; names every fault.
    """

    def __init__(self, machine: StateMachine, state_type: type[Message]) -> None:
        self._field = machine.field
        self._numbers = states_of(machine, state_type)
        check_machine(machine, self._numbers)
        self._names = {number: name for name, number in self._numbers.items()}
        self._initial = machine.initial
        self._ways: dict[str, list[_Way]] = {}
        for transition in machine.transitions:
            way = _Way(transition, compile_guard(transition, state_type))
            self._ways.setdefault(transition.action, []).append(way)

    @property
    def actions(self) -> tuple[str, ...]:
        """The names of all actions, sorted."""
        return tuple(sorted(self._ways))

    def put_initial(self, state: Message) -> None:
        """Puts a new state into the initial one."""
        setattr(state, self._field, self._numbers[self._initial])

    def name_of(self, state: Message) -> str:
        """The name of the state that a message is in.

        Raises:
            StateConsistencyError: for a number that is not a state.
        """
        number = getattr(state, self._field)
        try:
            return self._names[number]
        except KeyError:
            raise StateConsistencyError(
                f"{self._field} is {number}, which is not a state of the machine"
                f" ({', '.join(self._numbers)})"
            ) from None

    def select(self, state: Message, action: ReducerAction) -> Transition:
        """The transition that this action makes in this state.

        Raises:
            ContractValidationError: for an unknown action (lists the known) or a wrong payload.
            TransitionError: for an action that is not possible in this state.
            GuardRejectedError: for one whose guards all say no.
        """
        ways = self._ways.get(action.name)
        if ways is None:
            raise ContractValidationError.of(
                Violation(
                    "input_data.action",
                    f"unknown action {action.name!r:.80}; known: {', '.join(self.actions)}",
                )
            )
        payload = _payload(ways[0].transition, action)
        current = self.name_of(state)
        here = [way for way in ways if current in way.transition.sources]
        if not here:
            raise self._impossible(current, action)
        bindings = {"state": state} if payload is None else {"state": state, "action": payload}
        for transition, guard in here:
            if guard is None or guard.holds(bindings):
                return transition
        raise GuardRejectedError(
            f"{action.name} is not allowed now: {' and '.join(w.transition.guard for w in here)}"
            " is not true",
            context={"state": current, "action": action.name, "state_key": action.state_key},
        )

    def confirm(self, transition: Transition, state: Message) -> str:
        """The name of the state in which a transition ended.

        Raises:
            StateConsistencyError: for one that is not among its targets.
        """
        name = self.name_of(state)
        if name not in transition.targets:
            raise StateConsistencyError(
                f"{transition.action} ended in {name}, but it is declared to end in"
                f" {' or '.join(transition.targets)}; nothing was written",
                context={"action": transition.action, "state": name},
            )
        return name

    def _impossible(self, current: str, action: ReducerAction) -> TransitionError:
        possible = sorted(
            name
            for name, ways in self._ways.items()
            if any(current in way.transition.sources for way in ways)
        )
        return TransitionError(
            f"{action.name} is not possible in state {current}; possible:"
            f" {', '.join(possible) or 'nothing, it is final'}",
            context={"state": current, "action": action.name, "state_key": action.state_key},
        )


def _payload(transition: Transition, action: ReducerAction) -> Message | None:
    wanted = transition.payload
    content = action.data.WhichOneof("content")
    if wanted is None:
        if content is not None:
            raise ContractValidationError.of(
                Violation(PAYLOAD, f"must not be set: {action.name} brings nothing along")
            )
        return None
    if wanted.DESCRIPTOR.full_name == "google.protobuf.Value":
        if content != "value":
            raise ContractValidationError.of(
                Violation(PAYLOAD, f"is no JSON-like data, which {action.name} needs")
            )
        return action.data.value
    return action.message(wanted)
