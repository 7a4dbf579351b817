"""CEL (github.com/google/cel-spec) for guards and bindings, checked against types when compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from cel_expr_python import cel  # type: ignore[import-untyped]
from google.protobuf import descriptor_pool

from onex_grpc.errors import ContractValidationError, Violation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message import Message

    from onex_grpc.contract.data import JSON

Input: TypeAlias = "JSON | Message"
# What only CEL has beside JSON and messages.
Result: TypeAlias = "JSON | Message | bytes | datetime | timedelta"


class VariableType(NamedTuple):
    """What an expression may know of a variable."""

    message: str
    """Full name of a message's type, whose fields are checked when compiled; empty for anything."""


ANYTHING: Final = VariableType("")


def of_message(message_type: type[Message]) -> VariableType:
    """The type of a variable that holds messages of one type."""
    return VariableType(message_type.DESCRIPTOR.full_name)


class Expression:
    """One compiled expression; may be evaluated any number of times."""

    def __init__(self, text: str, compiled: cel.Expression) -> None:
        self.text = text
        self._compiled = compiled

    @property
    def may_be_condition(self) -> bool:
        """Whether its result is, as far as types tell, true or false."""
        return self._compiled.return_type() in (cel.Type.BOOL, cel.Type.DYN)

    def evaluate(self, bindings: Mapping[str, Input]) -> Result:
        """The value of the expression for these variables; message values are not copied.

        Raises:
            ContractValidationError: where it has none: a missing field, a division by zero.
        """
        value = self._compiled.eval(data=bindings)
        if value.type() == cel.Type.ERROR:
            raise _refused(self.text, str(value.plain_value()))
        result: Result = value.plain_value()
        return result

    def holds(self, bindings: Mapping[str, Input]) -> bool:
        """The value of a condition; raises as `evaluate`, and for any value but true and false."""
        result = self.evaluate(bindings)
        if not isinstance(result, bool):
            raise _refused(self.text, f"gives a {type(result).__name__}, not true or false")
        return result


def compile(
    text: str, variables: Mapping[str, VariableType], pool: DescriptorPool | None = None
) -> Expression:
    """Compiles an expression over these variables, whose names may have dots (`steps.a.output`).

    The types of messages are looked up in the pool; by default in that of the imported modules.

    Raises:
        ContractValidationError: for bad syntax, unknown variables and fields, unfit types.
    """
    types = {
        name: cel.Type(kind.message) if kind.message else cel.Type.DYN
        for name, kind in variables.items()
    }
    try:
        env = cel.NewEnv(descriptor_pool=pool or descriptor_pool.Default(), variables=types)
        return Expression(text, env.compile(text))
    except (RuntimeError, ValueError) as error:
        raise _refused(text, str(error)) from None


def _refused(text: str, fault: str) -> ContractValidationError:
    # The library adds a drawing of the place on further lines; the first one says it all.
    first = fault.partition("\n")[0].removeprefix("INVALID_ARGUMENT: ").removeprefix("ERROR: ")
    return ContractValidationError.of(Violation("expression", f"{text!r}: {first}"))
