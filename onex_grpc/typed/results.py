"""What the user's methods return, checked: a wrong type would fail far from its cause."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from onex_grpc.errors import OnexError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from onex_grpc.typed.contract import Rpc


def response_of(
    rpc: Rpc[Message, Message], result: object, *, place: str = "the response"
) -> Message:
    """The response that a method returned.

    Args:
        rpc: the method's.
        result: what it returned.
        place: what the result was to be.

    Raises:
        OnexError: for anything else.
    """
    if isinstance(result, rpc.response):
        return result
    raise OnexError(
        f"{rpc.service}.{rpc.method} returned {shown(result)} as {place}; give a"
        f" {rpc.response.DESCRIPTOR.full_name}"
    )


async def responses_of(
    rpc: Rpc[Message, Message], results: AsyncGenerator[Message, None]
) -> AsyncGenerator[Message, None]:
    """The responses that a method yields; raises as `response_of`."""
    async with aclosing(results):
        async for result in results:
            yield response_of(rpc, result)


def shown(value: object) -> str:
    """A value by its type, as an error tells of it."""
    if value is None:
        return "nothing"
    name = value.DESCRIPTOR.full_name if isinstance(value, Message) else type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
