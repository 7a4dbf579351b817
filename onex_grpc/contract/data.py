"""Open values: what a `Data` holds, as JSON-like Python values or as messages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from onex.v1 import common_pb2
from onex_grpc.errors import ContractValidationError, Violation

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any
    from google.protobuf.struct_pb2 import Value

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
M = TypeVar("M", bound=Message)

# Above it doubles, which JSON-like data has for numbers, leave whole numbers out (IEEE 754).
_LARGEST_EXACT: Final = 2**53
_DEEPEST: Final = 100
_FIELD: Final = "data"


def pack(value: Message | JSON) -> common_pb2.Data:
    """A Data with this value: a message as `message`, anything else as `value`; a Data as it is.

    Raises:
        ContractValidationError: for what JSON cannot say: NaN, infinities, whole numbers beyond
            2^53, keys that are no text, other types.
    """
    if isinstance(value, common_pb2.Data):
        return value
    data = common_pb2.Data()
    if isinstance(value, Message):
        data.message.Pack(value, deterministic=True)
    else:
        write_value(data.value, value)
    return data


def unpack(data: common_pb2.Data) -> Message | JSON:
    """The value in a Data; None for one without content. Numbers of JSON-like data are floats.

    Raises:
        ContractValidationError: for a message of a type that this process does not know, or whose
            bytes are damaged.
    """
    content = data.WhichOneof("content")
    if content is None:
        return None
    return read_value(data.value) if content == "value" else unpack_any(data.message)


def unpack_as(data: common_pb2.Data, message_type: type[M]) -> M:
    """The message in a Data, which must be of this type.

    Raises:
        ContractValidationError: for anything else; names both types.
    """
    wanted = message_type.DESCRIPTOR.full_name
    if data.WhichOneof("content") != "message":
        given = "JSON-like data" if data.WhichOneof("content") else "nothing"
        raise _refused(f"is {given}; a message of type {wanted} is needed")
    if data.message.TypeName() != wanted:
        raise _refused(f"is a {data.message.TypeName()}; a message of type {wanted} is needed")
    return _parse(data.message, message_type)


def unpack_any(packed: Any, field: str = _FIELD) -> Message:
    """The message in an Any.

    Args:
        packed: the Any.
        field: its path in the request, for errors.

    Raises:
        ContractValidationError: for a type that this process does not know, or damaged bytes.
    """
    name = packed.TypeName()
    try:
        message_type = _known_type(name)
    except KeyError:
        fault = f"is a {name}, which this node does not know; import its module"
        raise _refused(fault, field) from None
    return _parse(packed, message_type, field)


def write_value(target: Value, value: JSON, depth: int = 0) -> None:
    """Writes a JSON-like value into a google.protobuf.Value; raises as `pack`."""
    if value is None:
        target.null_value = 0  # type: ignore[assignment]
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int | float):
        target.number_value = _exact(value)
    elif isinstance(value, str):
        target.string_value = value
    elif depth >= _DEEPEST:
        raise _refused(f"is nested more than {_DEEPEST} levels deep")
    elif isinstance(value, Mapping):
        target.struct_value.SetInParent()
        for key, item in value.items():
            if not isinstance(key, str):
                raise _refused(f"has the key {key!r}; keys are text")
            write_value(target.struct_value.fields[key], item, depth + 1)
    elif isinstance(value, list | tuple):
        target.list_value.SetInParent()
        for item in value:
            write_value(target.list_value.values.add(), item, depth + 1)
    else:
        raise _refused(f"holds a {type(value).__name__}, which is neither JSON nor a message")


def read_value(value: Value) -> JSON:
    """A google.protobuf.Value as a JSON-like Python value; numbers are floats."""
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        return value.number_value
    if kind == "string_value":
        return value.string_value
    if kind == "struct_value":
        fields = value.struct_value.fields
        return {key: read_value(fields[key]) for key in fields}
    if kind == "list_value":
        return [read_value(item) for item in value.list_value.values]
    return value.bool_value if kind == "bool_value" else None


def _exact(number: float) -> float:
    if isinstance(number, int) and abs(number) > _LARGEST_EXACT:
        raise _refused(f"holds {number}, which a double cannot hold exactly; send it in a message")
    if not math.isfinite(number):
        raise _refused(f"holds {number}, which is no JSON number")
    return float(number)


@cache
def _known_type(name: str) -> type[Message]:
    """Return the class of a type's messages; raises KeyError for a type that is not known (yet)."""
    descriptor = descriptor_pool.Default().FindMessageTypeByName(name)
    # The pool reads a name only up to its first NUL.
    if descriptor.full_name != name:
        raise KeyError(name)
    return message_factory.GetMessageClass(descriptor)


def _parse(packed: Any, message_type: type[M], field: str = _FIELD) -> M:
    try:
        return message_type.FromString(packed.value)
    except DecodeError:
        name = message_type.DESCRIPTOR.full_name
        raise _refused(f"has bytes that are no {name}; were they cut?", field) from None


def _refused(fault: str, field: str = _FIELD) -> ContractValidationError:
    return ContractValidationError.of(Violation(field, fault))
