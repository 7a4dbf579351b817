"""Constraints of buf.validate on a user's own messages, checked by protovalidate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from onex_grpc.typed.contract import Contract


class Constraints(Protocol):
    """Checks the messages of a contract."""

    def check(self, message: Message, below: str = "") -> None:
        """Checks one message and those inside it.

        Args:
            message: the message.
            below: path of the field in which it came; empty where it is the request itself.

        Raises:
            ContractValidationError: with every violation and the path of its field.
        """
        ...


class _Unconstrained:
    def check(self, message: Message, below: str = "") -> None:
        """Nothing is to be checked."""


def constraints_of(contract: Contract) -> Constraints:
    """The checks of a contract's messages; none where it has no constraints.

    Raises:
        ConfigurationError: for a contract with constraints where protovalidate is not installed, or
            too old.
    """
    if not contract.constrained:
        return _Unconstrained()
    # Takes a fifth of a second to load.
    from onex_grpc.typed.protovalidated import Protovalidated

    return Protovalidated(contract)
