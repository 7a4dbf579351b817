"""The checks of an input that a contract asks for: required fields and the types of fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from onex.v1 import compute_pb2
from onex_grpc.errors import ContractValidationError, Violation

if TYPE_CHECKING:
    from onex_grpc.compute.algorithm import ComputeInput
    from onex_grpc.contract.data import JSON


def validate(data: ComputeInput, wanted: compute_pb2.InputValidation) -> None:
    """Checks an input against what its contract says of it.

    In a message a field is there when it is set; text, bytes, lists and maps when they are not
    empty, an enum when it is not its zero; numbers and booleans without presence always are, since
    0 is a value.

    Raises:
        ContractValidationError: with every fault at once.
    """
    if not wanted.required_fields and not wanted.data_types:
        return
    fields = _fields(data.value())
    if fields is None:
        raise data.invalid("has no fields; input_validation needs an object or a message")
    faults = [
        Violation(f"input_data.{name}", "is missing; input_validation requires it")
        for name in wanted.required_fields
        if name not in fields
    ]
    for name, data_type in sorted(wanted.data_types.items()):
        if name in fields and not _has_type(fields[name], data_type):
            expected = compute_pb2.DataType.Name(data_type).removeprefix("DATA_TYPE_").lower()
            faults.append(
                Violation(
                    f"input_data.{name}", f"is {_described(fields[name])}; {expected} is needed"
                )
            )
    if faults:
        raise ContractValidationError.of(*faults)


def _fields(value: Message | JSON) -> Mapping[str, object] | None:
    if isinstance(value, Message):
        return {name: item for name, item in _fields_of(value) if item is not None}
    return value if isinstance(value, Mapping) else None


def _fields_of(message: Message) -> list[tuple[str, object]]:
    return [(field.name, _field_value(message, field.name)) for field in message.DESCRIPTOR.fields]


def _field_value(message: Message, name: str) -> object:
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.has_presence:
        return getattr(message, name) if message.HasField(name) else None
    value: object = getattr(message, name)
    if field.is_repeated:
        inner = field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            return dict(getattr(message, name)) or None
        return list(getattr(message, name)) or None
    absent = value in ("", b"") or (field.enum_type is not None and value == 0)
    return None if absent else value


def _has_type(value: object, data_type: int) -> bool:
    if isinstance(value, bool):
        return data_type == compute_pb2.DATA_TYPE_BOOLEAN
    if isinstance(value, int | float):
        whole = isinstance(value, int) or value.is_integer()
        return data_type == compute_pb2.DATA_TYPE_NUMBER or (
            whole and data_type == compute_pb2.DATA_TYPE_INTEGER
        )
    if isinstance(value, str):
        return data_type == compute_pb2.DATA_TYPE_STRING
    if isinstance(value, list):
        return data_type == compute_pb2.DATA_TYPE_LIST
    return isinstance(value, Mapping | Message) and data_type == compute_pb2.DATA_TYPE_OBJECT


def _described(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number" if isinstance(value, int) or value.is_integer() else "a fraction"
    if isinstance(value, str | bytes):
        return "text" if isinstance(value, str) else "bytes"
    return "a list" if isinstance(value, list) else "an object"
