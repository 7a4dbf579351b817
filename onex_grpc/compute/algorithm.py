"""What an algorithm gets and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from google.protobuf.message import Message

from onex_grpc.contract import data
from onex_grpc.errors import ContractValidationError, Violation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.struct_pb2 import Struct

    from onex.v1 import common_pb2
    from onex_grpc.contract.data import JSON

M = TypeVar("M", bound=Message)

ComputeResult: TypeAlias = "Message | JSON"
Algorithm: TypeAlias = "Callable[[ComputeInput], ComputeResult | Awaitable[ComputeResult]]"
"""A plain or async function: a Data, a message of the user's own, or JSON-like data."""


@dataclass(frozen=True, slots=True)
class ComputeInput:
    """The input of one calculation."""

    data: common_pb2.Data
    struct: Struct

    def value(self) -> Message | JSON:
        """The input as JSON-like data (numbers are floats) or as a message; None without one.

        Raises:
            ContractValidationError: for a message of an unknown type or with damaged bytes.
        """
        with _below("input_data"):
            return data.unpack(self.data)

    def message(self, message_type: type[M]) -> M:
        """The input, which must be a message of this type.

        Raises:
            ContractValidationError: for anything else.
        """
        with _below("input_data"):
            return data.unpack_as(self.data, message_type)

    @property
    def parameters(self) -> dict[str, JSON]:
        """The parameters of the algorithm; numbers are floats."""
        return {key: data.read_value(value) for key, value in self.struct.fields.items()}

    def invalid(self, description: str, field: str = "input_data") -> ContractValidationError:
        """The error to raise for an input that the algorithm cannot work on."""
        return ContractValidationError.of(Violation(field, description))


class _below:
    """Names the field of the contract in the faults of what it holds."""

    def __init__(self, field: str) -> None:
        self._field = field

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ContractValidationError):
            raise ContractValidationError.of(
                *(Violation(self._field, fault.description) for fault in error.violations)
            ) from None
