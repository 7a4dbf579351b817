"""The check of a state machine's states: known, reachable, and left in one way by each guard."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from onex_grpc.codegen.check_overlap import can_both_hold
from onex_grpc.codegen.check_scope import did_you_mean, simple_name
from onex_grpc.codegen.fault import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onex.v1 import options_pb2
    from onex_grpc.codegen.check_scope import Scope
    from onex_grpc.codegen.schema import EnumType, NodeRecord, RpcRecord

    _Way = tuple[int, options_pb2.TransitionOptions]

# The field under which a reducer's runtime has the action's name.
_LONGEST_ACTION: Final = 128


def check_states(scope: Scope, node: NodeRecord, enum: EnumType) -> Iterator[Fault]:
    """The names that transitions and `initial` give, and the ways between the states."""
    states = states_of(enum)
    found = [
        *_aliases(scope, node, enum),
        *_initial(scope, node, enum, states),
        *(fault for rpc in node.rpcs for fault in _transitions(scope, node, rpc, enum, states)),
    ]
    yield from found
    if not found:
        yield from _unreachable(scope, node, states)
    for rpc in node.rpcs:
        yield from _ambiguous(scope, node, rpc)


def states_of(enum: EnumType) -> Mapping[str, int]:
    """The states by name: the enum's values but an UNSPECIFIED zero."""
    return {
        name: number for name, number in enum.values if number or not name.endswith("_UNSPECIFIED")
    }


def _aliases(scope: Scope, node: NodeRecord, enum: EnumType) -> Iterator[Fault]:
    names: dict[int, str] = {}
    for name, number in enum.values:
        first = names.setdefault(number, name)
        if first != name:
            yield Fault(
                scope.of_node(node, "state"),
                f"{simple_name(node.service)}: {first} and {name} of {enum.full_name} are one"
                f" number, {number}",
                "give each state its own number",
            )


def _initial(
    scope: Scope, node: NodeRecord, enum: EnumType, states: Mapping[str, int]
) -> Iterator[Fault]:
    service, initial = simple_name(node.service), node.options.initial
    place = scope.of_node(node, "initial")
    if not initial:
        yield Fault(place, f"{service} has no initial state", f"write one of {', '.join(states)}")
    elif initial not in states:
        what = f"{service} has the initial state {initial!r}{_no_state(initial, enum)}"
        yield Fault(place, what, _known(initial, enum, states))


def _transitions(
    scope: Scope, node: NodeRecord, rpc: RpcRecord, enum: EnumType, states: Mapping[str, int]
) -> Iterator[Fault]:
    name = f"{simple_name(node.service)}.{rpc.name}"
    if len(rpc.name) > _LONGEST_ACTION:
        yield Fault(
            scope.of_rpc(node.service, rpc.name),
            f"{name} has a name of {len(rpc.name)} characters",
            f"shorten it to {_LONGEST_ACTION}",
        )
    for index, transition in enumerate(rpc.transitions):
        place = scope.of_transition(node.service, rpc.name, index)
        for field, given in (("sources", transition.sources), ("targets", transition.targets)):
            if not given:
                yield Fault(
                    place,
                    f"{name} has a transition without {field}",
                    f"write {field}: [...] with at least one of {', '.join(states)}",
                )
            for state, count in Counter(given).items():
                if state not in states:
                    what = f"{name} has {state!r} in {field}{_no_state(state, enum)}"
                    yield Fault(place, what, _known(state, enum, states))
                elif count > 1:
                    yield Fault(
                        place, f"{name} has {state} {count} times in {field}", "name it once"
                    )


def _no_state(name: str, enum: EnumType) -> str:
    if any(name == known for known, _ in enum.values):
        return ", which stands for no state at all"
    return f", which is no value of {enum.full_name}"


def _known(name: str, enum: EnumType, states: Mapping[str, int]) -> str:
    mistyped = all(name != known for known, _ in enum.values)
    return f"write one of {', '.join(states)}{did_you_mean(name, states) if mistyped else ''}"


def _unreachable(scope: Scope, node: NodeRecord, states: Mapping[str, int]) -> Iterator[Fault]:
    transitions = [each for rpc in node.rpcs for each in rpc.transitions]
    reached, before = {node.options.initial}, 0
    while len(reached) > before:
        before = len(reached)
        for transition in transitions:
            if not reached.isdisjoint(transition.sources):
                reached.update(transition.targets)
    lost = [state for state in states if state not in reached]
    if lost:
        yield Fault(
            scope.of_node(node, "initial"),
            f"{simple_name(node.service)} can never reach {', '.join(lost)} from"
            f" {node.options.initial}",
            "add a transition to it, or remove it from the enum",
        )


def _ambiguous(scope: Scope, node: NodeRecord, rpc: RpcRecord) -> Iterator[Fault]:
    if len(rpc.transitions) < 2:
        return
    ways: dict[str, list[_Way]] = {}
    for index, transition in enumerate(rpc.transitions):
        for source in dict.fromkeys(transition.sources):
            ways.setdefault(source, []).append((index, transition))
    seen: set[int] = set()
    for source, here in ways.items():
        for position, (index, transition) in enumerate(here):
            fault = _first_conflict(transition, here[:position])
            if fault and index not in seen:
                seen.add(index)
                yield Fault(
                    scope.of_transition(node.service, rpc.name, index),
                    f"two transitions of {simple_name(node.service)}.{rpc.name} leave {source},"
                    f" and {fault}",
                    "give each a guard that is false where the other's is true",
                )


def _first_conflict(transition: options_pb2.TransitionOptions, others: Sequence[_Way]) -> str:
    for _, other in others:
        if not transition.guard or not other.guard:
            return "one has no guard"
        if transition.guard == other.guard:
            return f"both have the guard {transition.guard!r}"
        if can_both_hold(transition.guard, other.guard):
            return f"both guards, {other.guard!r} and {transition.guard!r}, can be true"
    return ""
