"""From protoc's request to plain records.

Nothing a user may write is refused here: what makes no sense is left to the linter, which says
what to do about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex.v1 import options_pb2
from onex_grpc.codegen.comments import Comments
from onex_grpc.codegen.constraints import constrained_messages
from onex_grpc.codegen.names import base_name, node_name_of, snake_case
from onex_grpc.codegen.schema import EnumType, MessageType, NodeRecord, RpcRecord, Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from google.protobuf import descriptor_pb2
    from google.protobuf.compiler import plugin_pb2

# Field numbers of descriptor.proto, which paths of source locations are made of.
_SERVICE = 6
_METHOD = 2


def read(request: plugin_pb2.CodeGeneratorRequest) -> Schema:
    """The records of a request that was parsed after options_pb2 was imported."""
    files = {file.name: file for file in request.proto_file}
    messages = {each.full_name: each for file in files.values() for each in _messages(file)}
    nodes = (node for file in files.values() for node in _nodes(file, messages))
    return Schema(
        files=files,
        to_generate=tuple(request.file_to_generate),
        messages=messages,
        enums={each.full_name: each for file in files.values() for each in _enums(file)},
        nodes={node.service: node for node in nodes},
        constrained=constrained_messages(messages.values()),
    )


def _prefix(file: descriptor_pb2.FileDescriptorProto) -> str:
    return f"{file.package}." if file.package else ""


def _messages(file: descriptor_pb2.FileDescriptorProto) -> Iterator[MessageType]:
    for proto, path in _nested(file.message_type, ()):
        full_name = _prefix(file) + ".".join(path)
        yield MessageType(full_name=full_name, file=file.name, path=path, proto=proto)


def _nested(
    protos: Iterable[descriptor_pb2.DescriptorProto], outside: tuple[str, ...]
) -> Iterator[tuple[descriptor_pb2.DescriptorProto, tuple[str, ...]]]:
    for proto in protos:
        path = (*outside, proto.name)
        yield proto, path
        yield from _nested(proto.nested_type, path)


def _enums(file: descriptor_pb2.FileDescriptorProto) -> Iterator[EnumType]:
    for proto in file.enum_type:
        yield _enum(file, proto, (proto.name,))
    for message, path in _nested(file.message_type, ()):
        for proto in message.enum_type:
            yield _enum(file, proto, (*path, proto.name))


def _enum(
    file: descriptor_pb2.FileDescriptorProto,
    proto: descriptor_pb2.EnumDescriptorProto,
    path: tuple[str, ...],
) -> EnumType:
    values = tuple((value.name, value.number) for value in proto.value)
    return EnumType(full_name=_prefix(file) + ".".join(path), file=file.name, values=values)


def _nodes(
    file: descriptor_pb2.FileDescriptorProto, messages: Mapping[str, MessageType]
) -> Iterator[NodeRecord]:
    comments: Comments | None = None
    for index, service in enumerate(file.service):
        if not service.options.HasExtension(options_pb2.node):
            continue
        comments = comments or Comments(file)
        name = _prefix(file) + service.name
        options = service.options.Extensions[options_pb2.node]
        path = (_SERVICE, index)
        yield NodeRecord(
            service=name,
            base=base_name(name),
            name=options.name or node_name_of(name),
            options=options,
            rpcs=tuple(
                _rpc(rpc, messages, comments, (*path, _METHOD, number))
                for number, rpc in enumerate(service.method)
            ),
            comment=comments.text(path),
            place=comments.place(path),
        )


def _rpc(
    rpc: descriptor_pb2.MethodDescriptorProto,
    messages: Mapping[str, MessageType],
    comments: Comments,
    path: tuple[int, ...],
) -> RpcRecord:
    options = rpc.options
    has_operation = options.HasExtension(options_pb2.operation)
    return RpcRecord(
        name=rpc.name,
        method=snake_case(rpc.name),
        request=messages[rpc.input_type.removeprefix(".")],
        response=messages[rpc.output_type.removeprefix(".")],
        request_streaming=rpc.client_streaming,
        response_streaming=rpc.server_streaming,
        transitions=tuple(options.Extensions[options_pb2.transition]),
        operation=options.Extensions[options_pb2.operation] if has_operation else None,
        comment=comments.text(path),
        place=comments.place(path),
    )
