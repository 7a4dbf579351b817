"""The check of a reducer's state: its message, its state machine and the rpcs that drive it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from onex.v1 import common_pb2
from onex_grpc.codegen.check_guard import check_guards
from onex_grpc.codegen.check_scope import did_you_mean, simple_name
from onex_grpc.codegen.check_states import check_states
from onex_grpc.codegen.fault import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onex_grpc.codegen.check_scope import Scope
    from onex_grpc.codegen.schema import EnumType, MessageType, NodeRecord

_DEFAULT_FIELD: Final = "status"
_OF_REDUCERS: Final = ("state", "state_field", "initial")


def check_machine(scope: Scope, node: NodeRecord) -> Iterator[Fault]:
    """The state of a reducer and its machine; that other kinds have neither."""
    if node.options.type != common_pb2.NODE_TYPE_REDUCER:
        if node.options.type:
            yield from _of_other_kinds(scope, node)
        return
    state = scope.schema.messages.get(node.options.state)
    if state is None:
        yield _no_state(scope, node)
    if not any(rpc.transitions for rpc in node.rpcs):
        yield from _without_machine(scope, node)
        return
    yield from _rpcs_without_transition(scope, node)
    if state is not None:
        enum = _enum(scope, node, state)
        if isinstance(enum, Fault):
            yield enum
        else:
            yield from check_states(scope, node, enum)
        yield from check_guards(scope, node, state)


def _of_other_kinds(scope: Scope, node: NodeRecord) -> Iterator[Fault]:
    service = simple_name(node.service)
    for field in _OF_REDUCERS:
        if getattr(node.options, field):
            yield Fault(
                scope.of_node(node, field),
                f"{service} has {field} and is no reducer",
                "remove it: only reducers keep state",
            )
    for rpc in node.rpcs:
        if rpc.transitions:
            yield Fault(
                scope.of_transition(node.service, rpc.name, 0),
                f"{service}.{rpc.name} has a transition, and {service} is no reducer",
                "remove it: only reducers have a state machine",
            )


def _no_state(scope: Scope, node: NodeRecord) -> Fault:
    service, name = simple_name(node.service), node.options.state
    if not name:
        return Fault(
            scope.of_node(node, "state"),
            f"{service} has no state",
            'name the message in which the reducer keeps it, as in state: "shop.v1.Order"',
        )
    return Fault(
        scope.of_node(node, "state"),
        f"{service} has the state {name!r}, which is no message of these files",
        "write package.Message, and import its file" + did_you_mean(name, scope.schema.messages),
    )


def _without_machine(scope: Scope, node: NodeRecord) -> Iterator[Fault]:
    for field in ("initial", "state_field"):
        if getattr(node.options, field):
            yield Fault(
                scope.of_node(node, field),
                f"{simple_name(node.service)} has {field}, but no rpc has a transition",
                f"give its rpcs the option (onex.v1.transition), or remove {field}",
            )


def _rpcs_without_transition(scope: Scope, node: NodeRecord) -> Iterator[Fault]:
    for rpc in node.rpcs:
        if not rpc.transitions:
            yield Fault(
                scope.of_rpc(node.service, rpc.name),
                f"{simple_name(node.service)}.{rpc.name} has no transition, but other rpcs have"
                " one, so it could never be called",
                "give it the option (onex.v1.transition)",
            )


def _enum(scope: Scope, node: NodeRecord, state: MessageType) -> EnumType | Fault:
    service, name = simple_name(node.service), node.options.state_field or _DEFAULT_FIELD
    field = next((field for field in state.proto.field if field.name == name), None)
    place = scope.of_node(node, "state_field")
    enums = [f.name for f in state.proto.field if f.type == FieldDescriptorProto.TYPE_ENUM]
    if field is None and not node.options.state_field:
        return Fault(
            place,
            f"{service} has transitions, but {state.full_name} has no field status",
            f"add one of an enum type, or name another as state_field{did_you_mean(name, enums)}",
        )
    if field is None:
        return Fault(
            place,
            f"{service} has the state_field {name!r}, and {state.full_name} has no such field",
            f"name its enum field that is the state machine's{did_you_mean(name, enums)}",
        )
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        fault = "repeated"
    elif field.type != FieldDescriptorProto.TYPE_ENUM:
        fault = "not an enum"
    else:
        return scope.schema.enums[field.type_name.removeprefix(".")]
    return Fault(
        place,
        f"{service} has the state machine's field {state.full_name}.{name}, which is {fault}",
        "name a single enum field as state_field",
    )
