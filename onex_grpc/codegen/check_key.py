"""The check of the key: a text field of every request that names entity or workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from onex.v1 import common_pb2
from onex_grpc.codegen.check_node import kind_of
from onex_grpc.codegen.check_scope import did_you_mean, simple_name
from onex_grpc.codegen.fault import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onex_grpc.codegen.check_scope import Scope
    from onex_grpc.codegen.schema import MessageType, NodeRecord, Schema

_NAMES: Final = {
    common_pb2.NODE_TYPE_REDUCER: "entity",
    common_pb2.NODE_TYPE_ORCHESTRATOR: "workflow",
}


def check_key(scope: Scope, node: NodeRecord) -> Iterator[Fault]:
    """That reducers and orchestrators have a key, which is a text field of every request."""
    service, key = simple_name(node.service), node.options.key
    named = _NAMES.get(node.options.type)
    if key and named is None and kind_of(node):
        yield Fault(
            scope.of_node(node, "key"),
            f"{service} is of kind {kind_of(node)} and has a key",
            "remove it: only reducers and orchestrators have one",
        )
    elif named and not key:
        yield Fault(
            scope.of_node(node, "key"),
            f"{service} has no key",
            f'name the text field of every request that names the {named}, as in key: "{named}_id"',
        )
    elif named:
        yield from _in_requests(scope, node)


def _in_requests(scope: Scope, node: NodeRecord) -> Iterator[Fault]:
    service, key = simple_name(node.service), node.options.key
    faults = {rpc.name: key_fault(scope.schema, rpc.request, key) for rpc in node.rpcs}
    if node.rpcs and all(faults.values()):
        # Where no request has it, the key is what is wrong, not the requests.
        fields = [field.name for field in node.rpcs[0].request.proto.field]
        yield Fault(
            scope.of_node(node, "key"),
            f"{service} has the key {key!r}: {faults[node.rpcs[0].name]}",
            f"name a text field that every request has{did_you_mean(key, fields)}",
        )
        return
    for rpc in node.rpcs:
        if faults[rpc.name]:
            yield Fault(
                scope.of_rpc(node.service, rpc.name),
                f"{service}.{rpc.name} lacks the key {key!r}: {faults[rpc.name]}",
                "add the field to the request: every request of the service has it",
            )


def key_fault(schema: Schema, message: MessageType, key: str) -> str:
    """Why a path does not lead to a single text field of a message; empty where it does."""
    *outer, last = key.split(".")
    for part in outer:
        field = _field(message, part)
        if field is None:
            return f"{message.full_name} has no field {part!r}"
        inner = schema.messages.get(field.type_name.removeprefix("."))
        if inner is None or field.label == FieldDescriptorProto.LABEL_REPEATED:
            return f"{message.full_name}.{part} is not a single message"
        message = inner
    field = _field(message, last)
    if field is None:
        return f"{message.full_name} has no field {last!r}"
    single = field.label != FieldDescriptorProto.LABEL_REPEATED
    if field.type != FieldDescriptorProto.TYPE_STRING or not single:
        return f"{message.full_name}.{last} is not a single string"
    return ""


def _field(message: MessageType, name: str) -> FieldDescriptorProto | None:
    return next((field for field in message.proto.field if field.name == name), None)
