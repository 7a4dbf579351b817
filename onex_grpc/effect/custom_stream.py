"""Operations of the user's own that take or give a stream."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from google.protobuf.message import Message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from onex_grpc.contract.data import JSON
    from onex_grpc.effect.custom_call import CustomCall

M = TypeVar("M", bound=Message)

Results: TypeAlias = "AsyncGenerator[Message | JSON, None]"
ServerStreamHandler: TypeAlias = "Callable[[M, CustomCall], Results]"
ClientStreamHandler: TypeAlias = (
    "Callable[[AsyncIterator[M], CustomCall], Awaitable[Message | JSON]]"
)
BidiHandler: TypeAlias = "Callable[[AsyncIterator[M], CustomCall], Results]"
Work: TypeAlias = "Callable[[AsyncIterator[Message], CustomCall], Results]"


@dataclass(frozen=True, slots=True)
class CustomStream:
    """One operation with a stream.

    Attributes:
        work: takes the messages and the call, gives the results.
        timeout: seconds for the whole of it; None for any time.
    """

    work: Work
    timeout: float | None


def each_alone(handler: ServerStreamHandler[Message]) -> Work:
    """A handler of one message over a stream of them: one after another."""

    async def work(messages: AsyncIterator[Message], call: CustomCall) -> Results:
        async for message in messages:
            async with aclosing(handler(message, call)) as results:
                async for result in results:
                    yield result

    return work


def one_result(handler: ClientStreamHandler[Message]) -> Work:
    """A handler with one result as one with a stream of them."""

    async def work(messages: AsyncIterator[Message], call: CustomCall) -> Results:
        yield await handler(messages, call)

    return work
