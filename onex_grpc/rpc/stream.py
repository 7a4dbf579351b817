"""A call with a stream in it, as the caller holds it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

import grpc

from onex_grpc.rpc.outgoing import NoAnswer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    from google.protobuf.message import Message

    from onex_grpc.rpc.outgoing import Outgoing

R = TypeVar("R")


class RawStream(Protocol):
    """What a stream needs of the transport's call."""

    def cancel(self) -> bool: ...
    def done(self) -> bool: ...
    async def code(self) -> grpc.StatusCode: ...
    async def details(self) -> str: ...
    async def trailing_metadata(self) -> grpc.aio.Metadata: ...
    async def read(self) -> object: ...
    async def write(self, request: Message) -> None: ...
    async def done_writing(self) -> None: ...


class ClientStream(Generic[R]):
    """A call with a stream in it: iterate over the responses, or `read`; `write` the requests and
    say `done_writing`; await the one response of a stream of requests. Letting go of it, or
    `cancel`, cancels the call at the server.
    """

    def __init__(self, raw: RawStream, outgoing: Outgoing) -> None:
        self._raw = raw
        self._outgoing = outgoing

    def __aiter__(self) -> ClientStream[R]:
        return self

    async def __anext__(self) -> R:
        message = await self.read()
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        return cast("R", message)

    async def read(self) -> object:
        """The next response; grpc.aio.EOF after the last.

        Raises:
            OnexError: with which the call ended.
        """
        try:
            message = await self._raw.read()
            if message is None:
                raise NoAnswer
        except BaseException as error:
            self._outgoing.fail(error)
        if message is grpc.aio.EOF:
            self._outgoing.end("OK")
        return message

    async def write(self, request: Message) -> None:
        """Sends a request.

        Raises:
            OnexError: with which the call has ended already.
        """
        try:
            await self._raw.write(request)
        except asyncio.InvalidStateError as error:
            self._outgoing.fail(await self._ending(error))
        except BaseException as error:
            self._outgoing.fail(error)

    async def _ending(self, error: BaseException) -> BaseException:
        """Why a call has ended that somebody still writes to."""
        try:
            code = await self._raw.code() if self._raw.done() else grpc.StatusCode.OK
        except KeyError as unknown:
            return unknown
        if code is grpc.StatusCode.OK:
            return error
        empty, trailing = grpc.aio.Metadata(), await self._raw.trailing_metadata()
        return grpc.aio.AioRpcError(code, empty, trailing, await self._raw.details())

    async def done_writing(self) -> None:
        """Says that no more requests come."""
        try:
            await self._raw.done_writing()
        except BaseException as error:
            self._outgoing.fail(error)

    def __await__(self) -> Generator[object, None, R]:
        return self._response().__await__()

    async def _response(self) -> R:
        try:
            response = await cast("Awaitable[R | None]", self._raw)
            if response is None:
                raise NoAnswer
        except BaseException as error:
            self._outgoing.fail(error)
        self._outgoing.end("OK")
        return response

    def cancel(self) -> bool:
        """Gives the call up; False when it has ended already."""
        cancelled = self._raw.cancel()
        self._outgoing.end("CANCELLED")
        return cancelled

    def done(self) -> bool:
        """Whether the call has ended."""
        return self._raw.done()

    async def code(self) -> grpc.StatusCode:
        """The status of the call, once it has ended."""
        return await self._raw.code()

    async def details(self) -> str:
        """The text of the status, once the call has ended."""
        return await self._raw.details()

    def __del__(self) -> None:
        # At the end of a program its loop may be gone before its calls.
        with contextlib.suppress(RuntimeError):
            self.cancel()
