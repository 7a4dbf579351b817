"""The refusal of a stream without requests, each of which would be an action or a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.errors import ContractValidationError, Violation

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from onex_grpc.typed.contract import Rpc


def empty_stream(rpc: Rpc[Message, Message]) -> ContractValidationError:
    """The error for a stream that ended before its first request."""
    return ContractValidationError.of(
        Violation("", f"the stream of {rpc.full_name} was empty; send at least one message")
    )
