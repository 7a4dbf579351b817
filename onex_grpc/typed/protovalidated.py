"""Messages checked by protovalidate, for contracts that have constraints."""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Final, Protocol, cast

from onex_grpc.errors import ConfigurationError, ContractValidationError, OnexError, Violation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

    from onex_grpc.typed.contract import Contract

_LEAST: Final = (2, 1)
_INSTALL: Final = "pip install 'onex-grpc[validate]'"


class _Element(Protocol):
    """One part of a field's path; `subscript` is an index or a key in a oneof of its own."""

    field_name: str
    subscript: _Subscript | None


class _Subscript(Protocol):
    field: str
    value: object


class _Path(Protocol):
    elements: Sequence[_Element]


class _Fault(Protocol):
    field: _Path | None
    message: str
    rule_id: str


class _Found(Protocol):
    @property
    def proto(self) -> _Fault: ...


class _Validator(Protocol):
    def collect_violations(self, message: Message) -> Sequence[_Found]: ...


class Protovalidated:
    """Checks the messages of one contract.

    Raises:
        ConfigurationError: when it is made, where protovalidate is not installed, or too old, and
            for constraints of a request that do not compile.
    """

    def __init__(self, contract: Contract) -> None:
        self._validator = _validator(contract)
        for rpc in contract.rpcs:
            try:
                # Whatever is wrong with an empty one, its constraints are compiled now.
                self._found(rpc.request())
            except OnexError as error:
                raise ConfigurationError(error.message) from error

    def check(self, message: Message, below: str = "") -> None:
        """Checks one message and those inside it; arguments as those of `Constraints.check`.

        Raises:
            ContractValidationError: with every violation and the path of its field.
            OnexError: for a constraint that is none: it does not compile, or not on this value.
        """
        if found := self._found(message):
            raise ContractValidationError.of(*(_violation(each.proto, below) for each in found))

    def _found(self, message: Message) -> Sequence[_Found]:
        try:
            return self._validator.collect_violations(message)
        except Exception as error:
            name = message.DESCRIPTOR.full_name
            fault = " ".join(str(error).split())
            raise OnexError(
                f"the constraints of {name} cannot be checked: {fault}; correct them in its proto"
            ) from error


def _violation(fault: _Fault, below: str) -> Violation:
    elements = () if fault.field is None else fault.field.elements
    path = ".".join(_part(element) for element in elements)
    full = f"{below}.{path}" if below and path else below or path
    return Violation(full, fault.message or f"violates {fault.rule_id}")


def _part(element: _Element) -> str:
    subscript = element.subscript
    return element.field_name if subscript is None else f"{element.field_name}[{subscript.value!r}]"


def _validator(contract: Contract) -> _Validator:
    try:
        module = importlib.import_module("protovalidate")
        version = metadata.version("protovalidate")
    except (ImportError, metadata.PackageNotFoundError) as error:
        raise ConfigurationError(
            f"{contract.service} has constraints of buf.validate, and protovalidate, which checks"
            f" them, is not installed; {_INSTALL}"
        ) from error
    if tuple(int(part) for part in version.split(".")[:2]) < _LEAST:
        least = ".".join(map(str, _LEAST))
        raise ConfigurationError(
            f"{contract.service} has constraints of buf.validate, which protovalidate {version}"
            f" is too old to check; it takes {least} or newer: {_INSTALL}"
        )
    return cast("_Validator", module.Validator())
