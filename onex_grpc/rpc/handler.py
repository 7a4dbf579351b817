"""The one wrapper of a method: headers, context, admission, checks, span, handler, status, metrics.

It is put around each method once, when the method is registered, and takes and gives bytes, so that
a request that cannot be read is answered as every other fault is.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Final, NoReturn, cast

import grpc
from google.protobuf.message import DecodeError, Message

from onex_grpc import carriable
from onex_grpc.contract import check
from onex_grpc.errors import (
    CallCancelledError,
    ConfigurationError,
    ContractValidationError,
    Violation,
)
from onex_grpc.rpc.correlation import CorrelationField
from onex_grpc.rpc.passage import Passage, span_attributes
from onex_grpc.rpc.status import status_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from onex_grpc.context import CallContext
    from onex_grpc.rpc.calls import CallRuntime, Handler, Method
    from onex_grpc.rpc.transport import (
        Served,
        ServerContext,
        StreamServed,
        Trailers,
        UnaryServed,
    )

_NOTHING: Final = b""
_FINE: Final = (None, grpc.StatusCode.OK)


class Contract:
    """How the messages of one method are read, checked and written."""

    def __init__(
        self,
        method: Method,
        parse: Callable[[bytes], Message],
        serialize: Callable[[Message], bytes],
    ) -> None:
        self.method = method
        self.serialize = serialize
        self.attributes = span_attributes(method)
        self.correlation: CorrelationField | None = None
        self._parse = parse

    def read(self, raw: bytes) -> Message:
        """A request as a message.

        Raises:
            ContractValidationError: for bytes that are none.
        """
        try:
            message = self._parse(raw)
        except DecodeError:
            raise ContractValidationError.of(
                Violation("", f"the request of {self.method.name} is not the message it should be")
            ) from None
        if self.correlation is None:
            self.correlation = CorrelationField(type(message))
        return message

    def accept(self, message: Message, call: CallContext, *, correlated: bool) -> None:
        """Checks a request and settles its correlation id.

        Args:
            message: the request; UUIDs are lower-cased and the id is filled in, in place.
            call: the call that it came with.
            correlated: whether the call came with an id, which then must agree.

        Raises:
            ContractValidationError: with all faults.
        """
        check(message)
        if (field := self.correlation) is not None:
            if correlated:
                field.settle(message, call.correlation_id)
            else:
                field.fill(message, call.correlation_id)


class HandlerContext:
    """The context that handlers get: that of the transport, which waits for ever for a status that
    it cannot send.
    """

    def __init__(self, context: ServerContext) -> None:
        self._context = context

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Trailers = ()
    ) -> NoReturn:
        """End the call with a status."""
        await self._context.abort(_status(code), status_text(details), trailing_metadata)

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the status with which the call will end."""
        self._context.set_code(_status(code))

    def set_details(self, details: str) -> None:
        """Set the text of the status."""
        self._context.set_details(status_text(details))

    def __getattr__(self, name: str) -> object:
        return getattr(self._context, name)


def _status(code: object) -> grpc.StatusCode:
    if not isinstance(code, grpc.StatusCode):
        given = carriable.text(code, 64)
        raise ConfigurationError(f"a call ends with a grpc.StatusCode, not with {given}")
    return code


class StreamContext(HandlerContext):
    """The context that handlers of streams get; it is their iterator of requests, too."""

    def __init__(
        self, context: ServerContext, contract: Contract, passage: Passage, call: CallContext
    ) -> None:
        super().__init__(context)
        self._contract = contract
        self._passage = passage
        self._call = call

    async def read(self) -> object:
        """The next request, checked; grpc.aio.EOF after the last."""
        raw = await self._context.read()
        if raw is grpc.aio.EOF:
            return raw
        message = self._contract.read(cast("bytes", raw))
        self._contract.accept(message, self._call, correlated=self._passage.correlated)
        return message

    async def write(self, message: Message) -> None:
        """Sends a response.

        Raises:
            CallCancelledError: when the call is over; nobody would get it.
        """
        raw = self._contract.serialize(message)
        try:
            await self._context.write(raw)
        except grpc.aio.AbortError:
            raise
        except grpc.aio.BaseError as error:
            raise CallCancelledError("the caller is gone") from error

    def __aiter__(self) -> StreamContext:
        return self

    async def __anext__(self) -> Message:
        message = await self.read()
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        return cast("Message", message)


def wrap(runtime: CallRuntime, contract: Contract, handler: Handler) -> Served:
    """Puts the wrapper, and inside it the runtime's middleware, around a method's handler."""
    method = contract.method
    for layer in reversed(runtime.middleware):
        handler = layer(method, handler)
    if not method.response_streaming:
        handler = _awaitable(handler, method)
    if method.request_streaming or method.response_streaming:
        return _wrap_stream(runtime, contract, handler)
    return _wrap_unary(runtime, contract, handler)


def _awaitable(handler: Handler, method: Method) -> Handler:
    if inspect.iscoroutinefunction(handler):
        return handler

    async def awaited(request: Message, context: object) -> Message:
        answer = handler(request, context)
        if not inspect.isawaitable(answer):
            raise ConfigurationError(f"the handler of {method.name} must be an async def")
        return cast("Message", await answer)

    return awaited


def _wrap_unary(runtime: CallRuntime, contract: Contract, handler: Handler) -> UnaryServed:
    method, attributes, admissions = contract.method, contract.attributes, runtime.admissions
    serialize = contract.serialize
    call_handler = cast("Callable[[Message, HandlerContext], Awaitable[Message]]", handler)

    async def unary(raw: bytes, context: ServerContext) -> bytes:
        passage = Passage(runtime, method, context)
        try:
            request = contract.read(raw)
            call = passage.enter(attributes, request, contract.correlation)
            for admit in admissions:
                if (pending := admit(call, method)) is not None:
                    await pending
            contract.accept(request, call, correlated=True)
            response = await call_handler(request, HandlerContext(context))
            return serialize(response) if context.code() in _FINE else _NOTHING
        except BaseException as error:
            passage.fail(error)
            return _NOTHING
        finally:
            passage.leave()

    return unary


def _wrap_stream(runtime: CallRuntime, contract: Contract, handler: Handler) -> Served:
    method, admissions = contract.method, runtime.admissions

    async def stream(raw: bytes, context: ServerContext) -> bytes:
        passage = Passage(runtime, method, context)
        try:
            request = None if method.request_streaming else contract.read(raw)
            call = passage.enter(contract.attributes, request, contract.correlation)
            for admit in admissions:
                if (pending := admit(call, method)) is not None:
                    await pending
            if request is not None:
                contract.accept(request, call, correlated=True)
            exchange = StreamContext(context, contract, passage, call)
            answer = handler(exchange if request is None else request, exchange)
            if not method.response_streaming:
                response = await cast("Awaitable[Message]", answer)
                return contract.serialize(response) if context.code() in _FINE else _NOTHING
            await _send(answer, exchange)
        except BaseException as error:
            passage.fail(error)
        finally:
            passage.leave()
        return _NOTHING

    if not method.response_streaming:
        return stream

    async def responses(raw: bytes, context: ServerContext) -> None:
        await stream(raw, context)

    return cast("StreamServed", responses)


async def _send(answer: object, exchange: StreamContext) -> None:
    """Sends what a handler yields; one that is awaited writes for itself."""
    if inspect.isawaitable(answer):
        await answer
        return
    responses = cast("AsyncIterator[Message]", answer)
    try:
        async for response in responses:
            await exchange.write(response)
    finally:
        # A generator must end with its call, not when it happens to be collected.
        if inspect.isasyncgen(responses):
            await responses.aclose()
