"""The time that a contract gives a calculation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.errors import DeadlineExceededError
from onex_grpc.rpc.bounded import Limit

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from onex_grpc.typed.contract import Rpc


def limit_of(rpc: Rpc[Message, Message]) -> Limit:
    """The time of a calculation that begins now; DeadlineExceededError at its end."""

    def late() -> DeadlineExceededError:
        return DeadlineExceededError(
            f"{rpc.full_name} was not done within {rpc.timeout:g} s, the timeout of its contract"
        )

    return Limit(rpc.timeout, late)
