"""Fields and enums in a form that is the same wherever their descriptors come from.

Presence, encoding and closedness are resolved: proto2, proto3 and editions say the same thing in
different words, and moving from one to another changes nothing for those who speak the contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from google.protobuf import descriptor_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Form: TypeAlias = "str | int | bool | Sequence[Form]"
"""What JSON can say without ambiguity."""

_Field: TypeAlias = descriptor_pb2.FieldDescriptorProto
_Features: TypeAlias = descriptor_pb2.FeatureSet

_EXPLICIT: Final = "explicit"
_IMPLICIT: Final = "implicit"
_REQUIRED: Final = "required"


def field_form(
    file: descriptor_pb2.FileDescriptorProto,
    message: descriptor_pb2.DescriptorProto,
    field: descriptor_pb2.FieldDescriptorProto,
) -> Form:
    """Number, name, type, presence, oneof and default of a field."""
    synthetic = field.proto3_optional or not field.HasField("oneof_index")
    oneof = "" if synthetic else message.oneof_decl[field.oneof_index].name
    delimited = field.type == _Field.TYPE_GROUP or (
        field.type == _Field.TYPE_MESSAGE
        and _feature(file, field.options.features, "message_encoding") == _Features.DELIMITED
    )
    kind = _Field.TYPE_MESSAGE if delimited else field.type
    return [
        field.number,
        field.name,
        kind,
        field.type_name.removeprefix("."),
        delimited,
        _presence(file, field),
        oneof,
        field.default_value,
    ]


def enum_form(
    file: descriptor_pb2.FileDescriptorProto, enum: descriptor_pb2.EnumDescriptorProto
) -> Form:
    """Whether an enum is closed, and its values by number."""
    closed = file.syntax in ("", "proto2") or (
        _feature(file, enum.options.features, "enum_type") == _Features.CLOSED
    )
    return [closed, sorted([value.number, value.name] for value in enum.value)]


def reached(message: descriptor_pb2.DescriptorProto) -> Iterator[str]:
    """The full names of the messages and enums that its fields are of."""
    for field in message.field:
        if field.type_name:
            yield field.type_name.removeprefix(".")


def _presence(file: descriptor_pb2.FileDescriptorProto, field: _Field) -> str:
    if field.label == _Field.LABEL_REPEATED:
        return "repeated"
    if field.label == _Field.LABEL_REQUIRED:
        return _REQUIRED
    always = field.type in (_Field.TYPE_MESSAGE, _Field.TYPE_GROUP)
    if file.syntax == "proto3":
        chosen = always or field.proto3_optional or field.HasField("oneof_index")
        return _EXPLICIT if chosen else _IMPLICIT
    feature = _feature(file, field.options.features, "field_presence")
    if feature == _Features.LEGACY_REQUIRED:
        return _REQUIRED
    if always or field.HasField("oneof_index"):
        return _EXPLICIT
    return _IMPLICIT if feature == _Features.IMPLICIT else _EXPLICIT


def _feature(
    file: descriptor_pb2.FileDescriptorProto, own: descriptor_pb2.FeatureSet, name: str
) -> int:
    """What an element says itself, else its file; 0 where neither does, or before editions."""
    for features in (own, file.options.features):
        if features.HasField(name):  # type: ignore[arg-type]
            return int(getattr(features, name))
    return 0
