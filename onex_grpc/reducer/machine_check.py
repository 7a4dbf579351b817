"""The check of a declared state machine against the state's message, when its class is made."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from onex_grpc.contract import expression
from onex_grpc.errors import ConfigurationError, ContractValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from google.protobuf.message import Message

    from onex_grpc.contract.expression import Expression
    from onex_grpc.reducer.machine import StateMachine, Transition


def states_of(machine: StateMachine, state_type: type[Message]) -> Mapping[str, int]:
    """The states by name: the enum's values but an UNSPECIFIED zero.

    Raises:
        ConfigurationError: for a field that is no single enum of the state's message.
    """
    field = state_type.DESCRIPTOR.fields_by_name.get(machine.field)
    enum = None if field is None or field.is_repeated else field.enum_type
    if enum is None:
        raise ConfigurationError(
            f"state machine: {state_type.DESCRIPTOR.full_name} has no enum field {machine.field!r};"
            " name the field that holds the state"
        )
    return {
        value.name: value.number
        for value in enum.values
        if value.number or not value.name.endswith("_UNSPECIFIED")
    }


def check_machine(machine: StateMachine, states: Mapping[str, int]) -> None:
    """Checks names, reachability and that at most one unguarded way leads on.

    Raises:
        ConfigurationError: with every fault at once.
    """
    faults = [*_names(machine, states)] or [*_reach(machine, states), *_ambiguous(machine)]
    if faults:
        raise ConfigurationError(f"state machine over {machine.field!r}: {'; '.join(faults)}")


def compile_guard(transition: Transition, state_type: type[Message]) -> Expression | None:
    """The guard of a transition; None where it has none.

    Raises:
        ConfigurationError: for bad syntax, unknown fields, a result that is neither true nor false.
    """
    if not transition.guard:
        return None
    payload = transition.payload
    # Value is JSON-like data, of which nothing is known beforehand.
    open_payload = payload is None or payload.DESCRIPTOR.full_name == "google.protobuf.Value"
    variables = {"state": expression.of_message(state_type)}
    if payload is not None:
        variables["action"] = (
            expression.ANYTHING if open_payload else expression.of_message(payload)
        )
    try:
        guard = expression.compile(transition.guard, variables)
    except ContractValidationError as error:
        raise ConfigurationError(f"guard of {transition.action}: {error.message}") from None
    if not guard.may_be_condition:
        raise ConfigurationError(
            f"guard of {transition.action}: {transition.guard!r} is neither true nor false"
        )
    return guard


def _names(machine: StateMachine, states: Mapping[str, int]) -> Iterator[str]:
    if not machine.initial:
        yield "the initial state is missing"
    elif machine.initial not in states:
        yield f"unknown initial state {machine.initial!r} (states: {', '.join(states)})"
    if not machine.transitions:
        yield "it has no transitions"
    for transition in machine.transitions:
        if not 1 <= len(transition.action) <= 128:
            yield f"the action name {transition.action!r} is empty or over 128 characters"
        if not transition.sources or not transition.targets:
            yield f"{transition.action} needs at least one source and one target"
        for name in (*transition.sources, *transition.targets):
            if name not in states:
                yield f"{transition.action} names the unknown state {name!r}"
    for action, types in _payloads(machine.transitions).items():
        if len(types) > 1:
            yield f"the transitions of {action} have different payloads"


def _payloads(transitions: Iterable[Transition]) -> Mapping[str, set[type[Message] | None]]:
    types: dict[str, set[type[Message] | None]] = {}
    for transition in transitions:
        types.setdefault(transition.action, set()).add(transition.payload)
    return types


def _reach(machine: StateMachine, states: Mapping[str, int]) -> Iterator[str]:
    reached = {machine.initial}
    before = 0
    while len(reached) > before:
        before = len(reached)
        for transition in machine.transitions:
            if not reached.isdisjoint(transition.sources):
                reached.update(transition.targets)
    yield from (f"the state {name} cannot be reached" for name in states if name not in reached)


def _ambiguous(machine: StateMachine) -> Iterator[str]:
    ways: dict[tuple[str, str], list[str]] = {}
    for transition in machine.transitions:
        for source in transition.sources:
            ways.setdefault((transition.action, source), []).append(transition.guard)
    for (action, source), guards in ways.items():
        if len(guards) > 1 and ("" in guards or max(Counter(guards).values()) > 1):
            yield f"{len(guards)} transitions of {action} leave {source}; give each its own guard"
