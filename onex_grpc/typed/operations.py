"""The rpcs of an effect node as operations of its own, found by the type of their request."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from onex_grpc.typed.results import response_of, responses_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from google.protobuf.message import Message

    from onex_grpc.effect.custom_call import CustomCall
    from onex_grpc.effect.custom_target import CustomOperations
    from onex_grpc.typed.constraints import Constraints
    from onex_grpc.typed.contract import Rpc

    AnyRpc = Rpc[Message, Message]
    One = Callable[[Message, CustomCall], Awaitable[Message]]
    Several = Callable[[Message, CustomCall], AsyncGenerator[Message, None]]
    Summed = Callable[[AsyncIterator[Message], CustomCall], Awaitable[Message]]
    Both = Callable[[AsyncIterator[Message], CustomCall], AsyncGenerator[Message, None]]


def register(
    operations: CustomOperations,
    rpc: AnyRpc,
    method: Callable[..., object],
    constraints: Constraints,
) -> None:
    """Makes an rpc an operation; streams are checked here, single requests before.

    Raises:
        ConfigurationError: when another operation has the type of the rpc's request.
    """
    if rpc.request_streaming:
        _register_requests(operations, rpc, method, constraints)
    elif rpc.response_streaming:
        several = cast("Several", method)

        def responses(message: Message, call: CustomCall) -> AsyncGenerator[Message, None]:
            constraints.check(message)
            return responses_of(rpc, several(message, call))

        operations.add_server_stream(rpc.request, responses, rpc.timeout)
    else:
        one = cast("One", method)

        async def response(message: Message, call: CustomCall) -> Message:
            return response_of(rpc, await one(message, call))

        add = operations.add_idempotent if rpc.idempotent else operations.add
        add(rpc.request, response)


def _register_requests(
    operations: CustomOperations,
    rpc: AnyRpc,
    method: Callable[..., object],
    constraints: Constraints,
) -> None:
    async def checked(messages: AsyncIterator[Message]) -> AsyncGenerator[Message, None]:
        async for message in messages:
            constraints.check(message)
            yield message

    if rpc.response_streaming:
        both = cast("Both", method)

        def responses(
            messages: AsyncIterator[Message], call: CustomCall
        ) -> AsyncGenerator[Message, None]:
            return responses_of(rpc, both(checked(messages), call))

        operations.add_bidi(rpc.request, responses, rpc.timeout)
    else:
        summed = cast("Summed", method)

        async def response(messages: AsyncIterator[Message], call: CustomCall) -> Message:
            return response_of(rpc, await summed(checked(messages), call))

        operations.add_client_stream(rpc.request, response, rpc.timeout)
