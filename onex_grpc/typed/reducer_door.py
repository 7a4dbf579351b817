"""The typed door of a reducer: each request is one action, answered by what is recorded with it."""

from __future__ import annotations

import copy
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, TypeAlias

from onex.v1 import common_pb2, reducer_pb2
from onex_grpc.contract.data import unpack_as
from onex_grpc.errors import AlreadyExistsError, ContractValidationError, Violation
from onex_grpc.reducer.model import PAYLOAD
from onex_grpc.typed.empty import empty_stream
from onex_grpc.typed.key import required_key

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator

    from google.protobuf.message import Message

    from onex_grpc.rpc.calls import Handler
    from onex_grpc.typed.contract import Rpc

_Contract: TypeAlias = reducer_pb2.ModelContractReducer
_Output: TypeAlias = reducer_pb2.ModelReducerOutput


class ReducerDoor:
    """Carries out the calls of a reducer's own service, as actions of the reducer.

    Args:
        reduce: applies one action; durable when it returns.
        stream: applies one after another.
        key: path of the field of every request that names the entity.
    """

    def __init__(
        self,
        reduce: Callable[[_Contract], Awaitable[_Output]],
        stream: Callable[[AsyncIterator[_Contract]], AsyncGenerator[_Output, None]],
        key: str,
    ) -> None:
        self._reduce = reduce
        self._stream = stream
        self._key = key

    def handler(self, rpc: Rpc[Message, Message]) -> Handler:
        """What answers the calls of an rpc, whichever of both sides is a stream."""

        async def unary(request: Message, context: object) -> Message:
            return _last(rpc, await self._reduced(rpc, request))

        async def server_stream(request: Message, context: object) -> AsyncIterator[Message]:
            for response in _responses(rpc, await self._reduced(rpc, request)):
                yield response

        async def client_stream(requests: AsyncIterator[Message], context: object) -> Message:
            last: _Output | None = None
            async with aclosing(self._outputs(rpc, requests)) as outputs:
                async for output in outputs:
                    last = output
            if last is None:
                raise empty_stream(rpc)
            return _last(rpc, last)

        async def bidi(requests: AsyncIterator[Message], context: object) -> AsyncIterator[Message]:
            empty = True
            async with aclosing(self._outputs(rpc, requests)) as outputs:
                async for output in outputs:
                    empty = False
                    for response in _responses(rpc, output):
                        yield response
            if empty:
                raise empty_stream(rpc)

        if not rpc.request_streaming:
            return server_stream if rpc.response_streaming else unary
        return bidi if rpc.response_streaming else client_stream

    async def _reduced(self, rpc: Rpc[Message, Message], request: Message) -> _Output:
        with _paths_of_request():
            return await self._reduce(self._action(rpc, request))

    async def _outputs(
        self, rpc: Rpc[Message, Message], requests: AsyncIterator[Message]
    ) -> AsyncGenerator[_Output, None]:
        actions = (self._action(rpc, request) async for request in requests)
        async with aclosing(actions), aclosing(self._stream(actions)) as outputs:
            with _paths_of_request():
                async for output in outputs:
                    yield output

    def _action(self, rpc: Rpc[Message, Message], request: Message) -> _Contract:
        key = required_key(request, self._key)
        payload = common_pb2.Data()
        payload.message.Pack(request, deterministic=True)
        return reducer_pb2.ModelContractReducer(
            reduction_config=reducer_pb2.ReductionConfig(state_key=key),
            input_data=reducer_pb2.ReducerInput(action=rpc.name, payload=payload),
        )


@contextmanager
def _paths_of_request() -> Iterator[None]:
    """Faults of the payload are faults of the request, which is all that the caller has sent."""
    try:
        yield
    except ContractValidationError as error:
        # A copy, since it may be a user's own class, with a context and causes.
        told = copy.copy(error)
        told.violations = [
            Violation(fault.field.removeprefix(PAYLOAD).removeprefix("."), fault.description)
            for fault in error.violations
        ]
        told.message = error.message.replace(f"{PAYLOAD}.", "").replace(f"{PAYLOAD}: ", "")
        told.args = (told.message,)
        raise told from None


def _last(rpc: Rpc[Message, Message], output: _Output) -> Message:
    if not output.responses:
        raise AlreadyExistsError(
            f"this action was recorded without a response, before {rpc.full_name} was there; ask"
            " for the state, or take a new action id"
        )
    return unpack_as(output.responses[-1], rpc.response)


def _responses(rpc: Rpc[Message, Message], output: _Output) -> Iterator[Message]:
    for response in output.responses:
        yield unpack_as(response, rpc.response)
