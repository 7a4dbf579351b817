"""Bindings: what a step's parameters take from the outputs of earlier steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from google.protobuf.struct_pb2 import Value

from onex.v1 import common_pb2
from onex_grpc.contract import data, expression
from onex_grpc.errors import ContractValidationError, Violation
from onex_grpc.workflow.assign import AssignError
from onex_grpc.workflow.fieldpath import FieldPath, parse_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

INPUT: Final = "input"
Values: TypeAlias = Mapping[str, common_pb2.Data]
"""What bindings read, by variable: `input` and `steps.<id>.output`."""

_OUTPUT: Final = re.compile(r"\bsteps\.([a-z_][a-z0-9_]*)\.output\b")
_WHOLE: Final = re.compile(r"\s*(input|steps\.[a-z_][a-z0-9_]*\.output)\s*")


def output_variable(step_id: str) -> str:
    """The name under which expressions read a step's output."""
    return f"steps.{step_id}.output"


@dataclass(frozen=True, slots=True)
class CompiledBinding:
    """A binding whose path exists and whose expression is sound.

    Attributes:
        path: the field below the step's parameters.
        expression: the compiled expression.
        reads: the ids of the steps whose outputs it reads.
        whole: the variable that the expression is, where it is nothing else; else empty.
    """

    path: FieldPath
    expression: expression.Expression
    reads: frozenset[str]
    whole: str

    def fill(self, command: Message, values: Values) -> None:
        """Writes the value of the expression into a step's parameters.

        Raises:
            ContractValidationError: when there is no value, or it does not fit the field.
        """
        try:
            self.path.assign(command, self._value(values))
        except AssignError as error:
            raise ContractValidationError.of(Violation(self.path.text, str(error))) from None

    def _value(self, values: Values) -> object:
        if self.whole:
            # A whole output is handed on as it is, so that its type need not be known here.
            return self._hand_on(values[self.whole])
        variables = {name: _content(values[name]) for name in self._names()}
        return self.expression.evaluate(variables)

    def _hand_on(self, value: common_pb2.Data) -> object:
        field = self.path.hops[-1].field.message_type
        if field is not None and field.full_name == common_pb2.Data.DESCRIPTOR.full_name:
            return value
        return data.unpack(value)

    def _names(self) -> list[str]:
        return [INPUT, *map(output_variable, self.reads)]


def _content(value: common_pb2.Data) -> Message:
    """What CEL sees of a Data: the message in it, or the JSON-like value; null for none."""
    if value.HasField("message"):
        return value.message
    return value.value if value.HasField("value") else _NULL


_NULL: Final = Value(null_value=0)  # type: ignore[arg-type]


def compile_binding(
    command: Descriptor, field: str, text: str, sees: Callable[[str], bool]
) -> CompiledBinding:
    """Compiles a binding into a type of command, over the outputs of the steps that it sees.

    Raises:
        ContractValidationError: when the field does not exist or the expression is unsound; names
            `field` or `expression`.
    """
    # Only what is read is declared, so that one compiled expression serves many plans.
    return _compile(command, field, text, frozenset(filter(sees, _OUTPUT.findall(text))))


@lru_cache(maxsize=4096)
def _compile(command: Descriptor, field: str, text: str, reads: frozenset[str]) -> CompiledBinding:
    try:
        path = parse_path(command, field)
    except AssignError as error:
        raise ContractValidationError.of(Violation("field", str(error))) from None
    variables = {output_variable(step): expression.ANYTHING for step in reads}
    variables[INPUT] = expression.ANYTHING
    compiled = expression.compile(text, variables)
    whole = _WHOLE.fullmatch(text)
    return CompiledBinding(path, compiled, reads, whole[1] if whole else "")
