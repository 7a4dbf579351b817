"""Exactly typed single values, as database columns and templates need them."""

from __future__ import annotations

from typing import TypeAlias

from onex.v1 import common_pb2, operation_pb2
from onex_grpc.errors import ContractValidationError, Violation

ScalarValue: TypeAlias = "bool | int | float | str | bytes | None"

_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


def to_scalar(value: ScalarValue) -> common_pb2.Scalar:
    """The Scalar of a Python value; None becomes one without a kind (NULL).

    Raises:
        ContractValidationError: for a whole number that does not fit into 64 bits.
    """
    if value is None:
        return common_pb2.Scalar()
    if isinstance(value, bool):
        return common_pb2.Scalar(bool_value=value)
    if isinstance(value, int):
        if not _SMALLEST <= value <= _LARGEST:
            raise ContractValidationError.of(
                Violation("int64_value", f"{value} does not fit into 64 bits; send it as text")
            )
        return common_pb2.Scalar(int64_value=value)
    if isinstance(value, float):
        return common_pb2.Scalar(double_value=value)
    if isinstance(value, str):
        return common_pb2.Scalar(string_value=value)
    return common_pb2.Scalar(bytes_value=value)


def scalars(**values: ScalarValue) -> dict[str, common_pb2.Scalar]:
    """Scalars by name, e.g. what a template's placeholders stand for; raises as `to_scalar`."""
    return {name: to_scalar(value) for name, value in values.items()}


def row(**columns: ScalarValue) -> operation_pb2.Row:
    """A row of a table by its columns; raises as `to_scalar`."""
    return operation_pb2.Row(columns=scalars(**columns))
