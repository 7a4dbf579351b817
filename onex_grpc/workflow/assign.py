"""Writing of a computed value into a field, whatever type the field has."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from onex.v1 import common_pb2
from onex_grpc.contract import data
from onex_grpc.contract.scalar import to_scalar
from onex_grpc.errors import ContractValidationError

if TYPE_CHECKING:
    from onex_grpc.contract.data import JSON

_INTEGERS: Final = frozenset(
    (
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    )
)
_FLOATS: Final = frozenset((FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE))


class AssignError(ValueError):
    """Raised when a path or a value does not fit a message; says which and why."""


def assign_field(message: Message, field: FieldDescriptor, value: object) -> None:
    """Writes a value into a field.

    A Data takes anything; a message takes one of its type or a JSON-like object; a number takes
    any number that it holds exactly; lists and maps are replaced as a whole.

    Raises:
        AssignError: when the value does not fit.
    """
    if field.is_repeated:
        _replace_all(message, field, value)
    elif field.message_type is not None:
        inner = cast("Message", getattr(message, field.name))
        # Present even where what is written is the type's default.
        inner.SetInParent()
        fill_message(inner, value)
    else:
        setattr(message, field.name, _scalar(field, value))


def assign_element(message: Message, field: FieldDescriptor, key: str | int, value: object) -> None:
    """Writes a value into one element of a list or one entry of a map; raises as assign_field."""
    # Reflection on a field whose type is known only at run time.
    items: Any = getattr(message, field.name)
    entry = _entry_of(field)
    element = entry or field
    if entry is None and cast("int", key) >= len(items):
        raise AssignError(f"{field.name} has no element [{key}]")
    if element.message_type is None:
        items[key] = _scalar(element, value)
    else:
        fill_message(items[key], value)


def _entry_of(field: FieldDescriptor) -> FieldDescriptor | None:
    kind = field.message_type
    if kind is None or not kind.GetOptions().map_entry:
        return None
    return kind.fields_by_name["value"]


def _replace_all(message: Message, field: FieldDescriptor, value: object) -> None:
    entry = _entry_of(field)
    items: Any = getattr(message, field.name)
    message.ClearField(field.name)
    if entry is not None:
        if not isinstance(value, Mapping):
            raise AssignError(f"{field.name} is a map; a {_name(value)} does not fit")
        for key, item in value.items():
            items = getattr(message, field.name)
            if entry.message_type is None:
                items[key] = _scalar(entry, item)
            else:
                fill_message(items[key], item)
        return
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise AssignError(f"{field.name} is a list; a {_name(value)} does not fit")
    for item in value:
        items = getattr(message, field.name)
        if field.message_type is None:
            items.append(_scalar(field, item))
        else:
            fill_message(items.add(), item)


def _scalar(field: FieldDescriptor, value: object) -> object:
    kind = field.cpp_type
    if isinstance(value, bytearray):
        # As CEL gives bytes.
        value = bytes(value)
    if kind in _INTEGERS or (kind == FieldDescriptor.CPPTYPE_ENUM and not isinstance(value, str)):
        return _integer(field, value)
    if kind in _FLOATS and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind == FieldDescriptor.CPPTYPE_BOOL and isinstance(value, bool):
        return value
    if kind == FieldDescriptor.CPPTYPE_STRING:
        wanted = bytes if field.type == FieldDescriptor.TYPE_BYTES else str
        if isinstance(value, wanted):
            return value
    if kind == FieldDescriptor.CPPTYPE_ENUM and isinstance(value, str):
        member = cast("Any", field.enum_type).values_by_name.get(value)
        if member is not None:
            return member.number
        raise AssignError(f"{field.name}: {value!r} is no member of its enum")
    raise AssignError(f"{field.name}: a {_name(value)} does not fit")


def _integer(field: FieldDescriptor, value: object) -> int:
    # Numbers of JSON-like data are doubles, the line of a file among them.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise AssignError(f"{field.name} is a whole number; a {_name(value)} does not fit")
    if isinstance(value, float) and (not math.isfinite(value) or value != int(value)):
        raise AssignError(f"{field.name} is a whole number; {value} is none")
    number = int(value)
    low, high = _RANGES[field.cpp_type]
    if not low <= number <= high:
        raise AssignError(f"{field.name}: {number} is out of its range")
    return number


_RANGES: Final[Mapping[int, tuple[int, int]]] = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def fill_message(target: Message, value: object) -> None:
    """Makes a message what a value says; raises AssignError when the value does not fit."""
    try:
        writer = _WRITERS.get(type(target))
        if writer is not None:
            writer(target, value)
        elif isinstance(value, Message):
            _copy(target, value)
        elif isinstance(value, Mapping):
            target.Clear()
            json_format.ParseDict(dict(value), target)
        else:
            raise AssignError(f"a {_name(value)} does not fit a {target.DESCRIPTOR.name}")
    except ContractValidationError as error:
        raise AssignError(error.message) from None
    except json_format.ParseError as error:
        raise AssignError(f"does not fit a {target.DESCRIPTOR.name}: {error}") from None


def _copy(target: Message, value: Message) -> None:
    if value.DESCRIPTOR.full_name != target.DESCRIPTOR.full_name:
        raise AssignError(f"a {_name(value)} does not fit a {target.DESCRIPTOR.name}")
    target.CopyFrom(value)


def _fill_data(target: Message, value: object) -> None:
    target.CopyFrom(data.pack(cast("Message | JSON", value)))


def _fill_value(target: Message, value: object) -> None:
    if isinstance(value, Value):
        target.CopyFrom(value)
    else:
        data.write_value(cast("Value", target), cast("JSON", value))


def _fill_any(target: Message, value: object) -> None:
    if isinstance(value, AnyMessage):
        target.CopyFrom(value)
    elif isinstance(value, Message):
        cast("AnyMessage", target).Pack(value)
    else:
        raise AssignError(f"a {_name(value)} is no message")


def _fill_scalar(target: Message, value: object) -> None:
    if isinstance(value, common_pb2.Scalar):
        target.CopyFrom(value)
    elif isinstance(value, bytearray):
        target.CopyFrom(to_scalar(bytes(value)))
    elif value is None or isinstance(value, bool | int | float | str | bytes):
        target.CopyFrom(to_scalar(value))
    else:
        raise AssignError(f"a {_name(value)} is no single value")


def _fill_timestamp(target: Message, value: object) -> None:
    if isinstance(value, datetime):
        cast("Timestamp", target).FromDatetime(value)
    elif isinstance(value, Timestamp):
        target.CopyFrom(value)
    else:
        raise AssignError(f"a {_name(value)} is no time")


def _fill_duration(target: Message, value: object) -> None:
    if isinstance(value, timedelta):
        cast("Duration", target).FromTimedelta(value)
    elif isinstance(value, Duration):
        target.CopyFrom(value)
    else:
        raise AssignError(f"a {_name(value)} is no duration")


_WRITERS: Final[Mapping[type, Callable[[Message, object], None]]] = {
    common_pb2.Data: _fill_data,
    common_pb2.Scalar: _fill_scalar,
    Value: _fill_value,
    AnyMessage: _fill_any,
    Timestamp: _fill_timestamp,
    Duration: _fill_duration,
}


def _name(value: object) -> str:
    return value.DESCRIPTOR.name if isinstance(value, Message) else type(value).__name__
