"""What the user's methods return, checked: a wrong type would fail far from its cause."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from onex_grpc.errors import OnexError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from onex_grpc.typed.contract import Rpc


def response_of(rpc: Rpc[Message, Message], result: object) -> Message:
    """The response that a method returned.

    Raises:
        OnexError: for anything else.
    """
    if isinstance(result, rpc.response):
        return result
    shown = result.DESCRIPTOR.full_name if isinstance(result, Message) else type(result).__name__
    raise OnexError(
        f"{rpc.method} of {rpc.service} gave a {shown}; give a {rpc.response.DESCRIPTOR.full_name}"
    )


async def responses_of(
    rpc: Rpc[Message, Message], results: AsyncGenerator[Message, None]
) -> AsyncGenerator[Message, None]:
    """The responses that a method yields; raises as `response_of`."""
    async with aclosing(results):
        async for result in results:
            yield response_of(rpc, result)
