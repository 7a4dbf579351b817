"""Equal contents in different bytes: what maps and Anys may be packed as by another process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from depot.v1 import depot_pb2
from google.protobuf import any_pb2, struct_pb2

if TYPE_CHECKING:
    import random

    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.message import Message

JSON: TypeAlias = "bool | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
_PREFIXES: Final = ("type.googleapis.com/", "types.example/v1/", "/")


@dataclass(frozen=True, slots=True)
class Content:
    """What a Label says."""

    detail: JSON | Content | None = None
    notes: Sequence[JSON | Content] = ()
    tags: Mapping[str, JSON] = field(default_factory=dict)
    sealed: JSON | Content | None = None
    inner: Content | None = None
    named: Mapping[str, Content] = field(default_factory=dict)


def label(content: Content, chance: random.Random) -> depot_pb2.Label:
    """A label with this content; chance decides about all that is no content."""
    made = depot_pb2.Label()
    if content.detail is not None:
        made.detail.CopyFrom(packed(content.detail, chance))
    made.notes.extend(packed(each, chance) for each in content.notes)
    for name in shuffled(content.tags, chance):
        made.tags[name].CopyFrom(packed(content.tags[name], chance))
    if content.sealed is not None:
        made.sealed.CopyFrom(packed(content.sealed, chance))
    if content.inner is not None:
        made.inner.CopyFrom(label(content.inner, chance))
    for name in shuffled(content.named, chance):
        made.named[name].CopyFrom(label(content.named[name], chance))
    return made


def packed(content: JSON | Content, chance: random.Random) -> any_pb2.Any:
    """An Any with a content, as somebody may have packed it."""
    if isinstance(content, Content):
        return any_of(label(content, chance), chance)
    return raw_any("google.protobuf.Value", _value(content, chance), chance)


def any_of(message: Message, chance: random.Random) -> any_pb2.Any:
    """A message in an Any, its fields and entries in any order."""
    return raw_any(message.DESCRIPTOR.full_name, scattered(message, chance), chance)


def raw_any(name: str, value: bytes, chance: random.Random) -> any_pb2.Any:
    """Bytes in an Any, under any prefix."""
    return any_pb2.Any(type_url=chance.choice(_PREFIXES) + name, value=value)


def scattered(message: Message, chance: random.Random) -> bytes:
    """The bytes of a message whose fields and entries stand in any order, as a parser takes them;
    the elements of lists keep theirs.
    """
    parts = [part for field, _ in message.ListFields() for part in _alone(message, field)]
    chance.shuffle(parts)
    return b"".join(parts)


def _alone(message: Message, wanted: FieldDescriptor) -> list[bytes]:
    """The bytes of one field; of a map's entries each."""
    alone = type(message)()
    alone.CopyFrom(message)
    for other, _ in message.ListFields():
        if other.number != wanted.number:
            alone.ClearField(other.name)
    kind = wanted.message_type
    if kind is None or not kind.GetOptions().map_entry:
        return [alone.SerializeToString()]
    parts = []
    for key in getattr(message, wanted.name):
        entry = type(message)()
        entry.CopyFrom(alone)
        for other in set(getattr(message, wanted.name)) - {key}:
            getattr(entry, wanted.name).pop(other)
        parts.append(entry.SerializeToString())
    return parts


def shuffled(entries: Mapping[str, object], chance: random.Random) -> list[str]:
    """The keys of a map in any order."""
    return chance.sample(sorted(entries), len(entries))


def _value(content: JSON, chance: random.Random) -> bytes:
    """The bytes of a google.protobuf.Value; what is written entry by entry is one map."""
    if isinstance(content, Mapping):
        return _field(5, _struct(content, chance))
    if isinstance(content, Sequence) and not isinstance(content, str):
        return _field(6, b"".join(_field(1, _value(each, chance)) for each in content))
    value = struct_pb2.Value()
    if content is None:
        value.null_value = struct_pb2.NULL_VALUE
    elif isinstance(content, bool):
        value.bool_value = content
    elif isinstance(content, str):
        value.string_value = content
    else:
        value.number_value = content
    return value.SerializeToString()


def _struct(content: Mapping[str, JSON], chance: random.Random) -> bytes:
    entries = (
        _field(1, name.encode()) + _field(2, _value(content[name], chance))
        for name in shuffled(content, chance)
    )
    return b"".join(_field(1, entry) for entry in entries)


def _field(number: int, value: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes((low | 0x80,)) + _varint(rest) if rest else bytes((low,))
