"""Paths to fields of a message, such as `input_data.payload` or `statements[0].insert.row`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from google.protobuf.struct_pb2 import Struct, Value

from onex_grpc.workflow.assign import AssignError, assign_element, assign_field

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.message import Message

_TOKEN: Final = re.compile(r"\.?([A-Za-z0-9_-]+)|\[([0-9]+)\]")
_VALUE: Final = Value.DESCRIPTOR.full_name
_STRUCT: Final = Struct.DESCRIPTOR.full_name


class _Hop(NamedTuple):
    """One step down: into a field, and there to a key of a map or an index of a list."""

    field: FieldDescriptor
    key: str | int | None


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A path that exists in its type of message."""

    text: str
    hops: tuple[_Hop, ...]

    def check_indexes(self, message: Message) -> None:
        """Raises AssignError where the path leads to an element that a message does not have."""
        for hop in self.hops:
            inner = _peek(message, hop)
            if inner is None:
                return
            message = inner

    def assign(self, message: Message, value: object) -> None:
        """Writes a value into a message, converted as `assign_field` says.

        Raises:
            AssignError: when the value does not fit the field.
        """
        for hop in self.hops[:-1]:
            message = _descend(message, hop)
        field, key = self.hops[-1]
        if key is None:
            assign_field(message, field, value)
        else:
            assign_element(message, field, key, value)


def parse_path(descriptor: Descriptor, text: str) -> FieldPath:
    """The path that a text names in a type of message.

    Fields of JSON-like values are reached by their keys.

    Raises:
        AssignError: when there is no such field.
    """
    tokens = _tokens(text)
    hops: list[_Hop] = []
    inside: Descriptor | None = descriptor
    while tokens:
        if inside is None:
            raise AssignError(f"{text!r}: {hops[-1].field.name} has no fields below it")
        if inside.full_name == _VALUE:
            # A JSON-like value that has keys is an object, whatever it was before.
            hops.append(_Hop(_field(inside, "struct_value", text), None))
            inside = Struct.DESCRIPTOR
        if inside.full_name == _STRUCT:
            tokens.insert(0, "fields")
        field = _field(inside, tokens.pop(0), text)
        key = _key(field, tokens, text)
        hops.append(_Hop(field, key))
        inside = _inside(field, key)
    return FieldPath(text, tuple(hops))


def _tokens(text: str) -> list[str | int]:
    tokens: list[str | int] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise AssignError(f"{text!r} is not a path of fields")
        tokens.append(match[1] if match[1] is not None else int(match[2]))
        position = match.end()
    if not tokens:
        raise AssignError("the path is empty")
    return tokens


def _field(inside: Descriptor, name: str | int, text: str) -> FieldDescriptor:
    field = inside.fields_by_name.get(name) if isinstance(name, str) else None
    if field is None:
        raise AssignError(f"{text!r}: {inside.name} has no field {name}")
    return field


def _key(field: FieldDescriptor, tokens: list[str | int], text: str) -> str | int | None:
    if not field.is_repeated or not tokens:
        return None
    key = tokens.pop(0)
    if is_map(field):
        return str(key)
    if isinstance(key, str):
        raise AssignError(f"{text!r}: {field.name} is a list; name an element, {field.name}[0]")
    return key


def _inside(field: FieldDescriptor, key: str | int | None) -> Descriptor | None:
    if is_map(field):
        entry = cast("Descriptor", field.message_type)
        return entry.fields_by_name["value"].message_type if key is not None else None
    return field.message_type if key is not None or not field.is_repeated else None


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map."""
    entry = field.message_type
    return bool(field.is_repeated and entry is not None and entry.GetOptions().map_entry)


def _descend(message: Message, hop: _Hop) -> Message:
    # Reflection on a message whose type is known only at run time.
    inner: Any = getattr(message, hop.field.name)
    if hop.key is None:
        cast("Message", inner).SetInParent()
        return cast("Message", inner)
    if isinstance(hop.key, int) and hop.key >= len(inner):
        raise AssignError(f"{hop.field.name} has no element [{hop.key}]")
    return cast("Message", inner[hop.key])


def _peek(message: Message, hop: _Hop) -> Message | None:
    """What lies below a hop, without making it; None where nothing does."""
    inner: Any = getattr(message, hop.field.name)
    if hop.key is None:
        return None if hop.field.is_repeated else _if_message(inner)
    if isinstance(hop.key, str):
        return _if_message(inner[hop.key]) if hop.key in inner else None
    if hop.key >= len(inner):
        raise AssignError(f"{hop.field.name} has no element [{hop.key}]")
    return _if_message(inner[hop.key])


def _if_message(inner: object) -> Message | None:
    return cast("Message", inner) if hasattr(inner, "DESCRIPTOR") else None
