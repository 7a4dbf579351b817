"""One rpc of a compute node: the user's method as a handler of calls and as an algorithm."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

from onex_grpc.contract.canonical import canonical_bytes
from onex_grpc.rpc.bounded import bounded
from onex_grpc.typed.answers import Answers
from onex_grpc.typed.bounded import limit_of
from onex_grpc.typed.results import response_of, responses_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator

    from google.protobuf.message import Message

    from onex_grpc.compute.algorithm import ComputeInput
    from onex_grpc.compute.registry import AlgorithmRegistry
    from onex_grpc.rpc.calls import Handler
    from onex_grpc.typed.constraints import Constraints
    from onex_grpc.typed.contract import Rpc

    AnyRpc = Rpc[Message, Message]
    Check = Callable[[Message, str], None]


def _unpacked(data: ComputeInput, request: type[Message], check: Check) -> Message:
    """The request in an input, checked once more: its caller knows its fields by other paths."""
    message = data.message(request)
    check(message, "input_data")
    return message


class Calculation(Protocol):
    """One rpc of a compute node."""

    @property
    def handle(self) -> Handler:
        """Answers calls of the contract's service."""
        ...

    def register(self, algorithms: AlgorithmRegistry) -> None:
        """Offers the rpc as an algorithm."""
        ...


def calculation_of(
    rpc: AnyRpc, method: Callable[..., object], constraints: Constraints
) -> Calculation:
    """The calculation of an rpc by the node's method for it."""
    if not rpc.request_streaming:
        if not rpc.response_streaming:
            return _Unary(rpc, cast("Callable[[Message], Message]", method), constraints)
        several = cast("Callable[[Message], Iterator[Message]]", method)
        return _ServerStream(rpc, several, constraints)
    if not rpc.response_streaming:
        one = cast("Callable[[AsyncIterator[Message]], Awaitable[Message]]", method)
        return _ClientStream(rpc, one, constraints)
    both = cast("Callable[[AsyncIterator[Message]], AsyncGenerator[Message, None]]", method)
    return _Bidi(rpc, both, constraints)


class _Unary:
    def __init__(
        self, rpc: AnyRpc, method: Callable[[Message], Message], constraints: Constraints
    ) -> None:
        self._rpc = rpc
        self._method = method
        self._check = constraints.check
        self._answers = Answers(rpc.response) if rpc.cacheable else None
        self.handle = self._handler()

    def register(self, algorithms: AlgorithmRegistry) -> None:
        handle, request, check = self.handle, self._rpc.request, self._check

        async def run(data: ComputeInput) -> Message:
            message = _unpacked(data, request, check)
            return await cast("Awaitable[Message]", handle(message, None))

        algorithms.register(self._rpc.full_name, run)

    def _handler(self) -> Handler:
        if self._answers is not None:
            return self._from_memory
        if self._rpc.in_thread:
            return self._checked_in_thread
        rpc, method, check = self._rpc, self._method, self._check

        async def handle(request: Message, _: object) -> Message:
            check(request)
            return response_of(rpc, method(request))

        return handle

    async def _checked_in_thread(self, request: Message, _: object) -> Message:
        self._check(request)
        return await self._in_thread(request)

    async def _from_memory(self, request: Message, _: object) -> Message:
        self._check(request)
        answers = cast("Answers", self._answers)
        key = canonical_bytes(request)
        known = answers.find(key)
        if known is not None:
            return known
        in_thread = self._rpc.in_thread
        response = (
            await self._in_thread(request)
            if in_thread
            else response_of(self._rpc, self._method(request))
        )
        answers.keep(key, response)
        return response

    async def _in_thread(self, request: Message) -> Message:
        # A thread cannot be stopped: it runs on, unheard, when the time is over.
        async with limit_of(self._rpc).bind():
            return response_of(self._rpc, await asyncio.to_thread(self._method, request))


class _ServerStream:
    def __init__(
        self, rpc: AnyRpc, method: Callable[[Message], Iterator[Message]], constraints: Constraints
    ) -> None:
        self._rpc = rpc
        self._method = method
        self._check = constraints.check

    def register(self, algorithms: AlgorithmRegistry) -> None:
        request, check = self._rpc.request, self._check
        algorithms.register_server_stream(
            self._rpc.full_name,
            lambda data: self.handle(_unpacked(data, request, check), None),
        )

    def handle(self, request: Message, _: object) -> AsyncGenerator[Message, None]:
        return bounded(self._responses(request), limit_of(self._rpc))

    async def _responses(self, request: Message) -> AsyncGenerator[Message, None]:
        self._check(request)
        for response in self._method(request):
            yield response_of(self._rpc, response)
            # So that other calls go on, and the end of this one's time is noticed.
            await asyncio.sleep(0)


class _Requests:
    """What the two forms with a stream of requests share."""

    def __init__(self, rpc: AnyRpc, constraints: Constraints) -> None:
        self._rpc = rpc
        self._check = constraints.check

    async def checked(self, requests: AsyncIterator[Message]) -> AsyncGenerator[Message, None]:
        async for request in requests:
            self._check(request)
            yield request

    async def unpacked(self, inputs: AsyncIterator[ComputeInput]) -> AsyncGenerator[Message, None]:
        async for data in inputs:
            yield _unpacked(data, self._rpc.request, self._check)


class _ClientStream(_Requests):
    def __init__(
        self,
        rpc: AnyRpc,
        method: Callable[[AsyncIterator[Message]], Awaitable[Message]],
        constraints: Constraints,
    ) -> None:
        super().__init__(rpc, constraints)
        self._method = method

    def register(self, algorithms: AlgorithmRegistry) -> None:
        algorithms.register_client_stream(
            self._rpc.full_name, lambda inputs: self.handle(self.unpacked(inputs), None)
        )

    async def handle(self, requests: AsyncIterator[Message], _: object) -> Message:
        async with limit_of(self._rpc).bind():
            return response_of(self._rpc, await self._method(self.checked(requests)))


class _Bidi(_Requests):
    def __init__(
        self,
        rpc: AnyRpc,
        method: Callable[[AsyncIterator[Message]], AsyncGenerator[Message, None]],
        constraints: Constraints,
    ) -> None:
        super().__init__(rpc, constraints)
        self._method = method

    def register(self, algorithms: AlgorithmRegistry) -> None:
        algorithms.register_bidi(
            self._rpc.full_name, lambda inputs: self.handle(self.unpacked(inputs), None)
        )

    def handle(self, requests: AsyncIterator[Message], _: object) -> AsyncGenerator[Message, None]:
        responses = responses_of(self._rpc, self._method(self.checked(requests)))
        return bounded(responses, limit_of(self._rpc))
