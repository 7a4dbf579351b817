"""Which messages have constraints of buf.validate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf import unknown_fields

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf import descriptor_pb2
    from google.protobuf.message import Message

    from onex_grpc.codegen.schema import MessageType

# The number of buf.validate's extensions of message, field and oneof options alike.
_BUF_VALIDATE: Final = 1159


def constrained_messages(messages: Iterable[MessageType]) -> frozenset[str]:
    """The full names of messages with constraints, their own or of a message in a field."""
    users: dict[str, list[str]] = {}
    waiting: list[str] = []
    for message in messages:
        for field in message.proto.field:
            if field.type_name:
                users.setdefault(field.type_name.removeprefix("."), []).append(message.full_name)
        if _has_own(message.proto):
            waiting.append(message.full_name)
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(users.get(name, ()))
    return frozenset(found)


def _has_own(proto: descriptor_pb2.DescriptorProto) -> bool:
    options: list[Message] = [
        *([proto.options] if proto.HasField("options") else []),
        *(field.options for field in proto.field if field.HasField("options")),
        *(oneof.options for oneof in proto.oneof_decl if oneof.HasField("options")),
    ]
    return any(map(_is_marked, options))


def _is_marked(options: Message) -> bool:
    # The extension is unknown unless somebody has imported protovalidate's own stubs.
    known = [field.number for field, _ in options.ListFields()]
    unknown = unknown_fields.UnknownFieldSet(options)
    numbers = [unknown[index].field_number for index in range(len(unknown))]
    return _BUF_VALIDATE in known or _BUF_VALIDATE in numbers
