"""A call with a stream in it that begins as soon as it is known where its target is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import grpc

from onex_grpc.errors import CallCancelledError, OnexError
from onex_grpc.rpc.status import CODES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    from google.protobuf.message import Message

    from onex_grpc.rpc.stream import RawStream


class DeferredStream:
    """Hands everything on to the call, once it has begun.

    Args:
        beginning: begins the call; its OnexError is that of all that is asked of the call.
    """

    def __init__(self, beginning: Awaitable[RawStream]) -> None:
        self._beginning = asyncio.ensure_future(beginning)
        # Nobody may ever ask.
        self._beginning.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _begun(self) -> RawStream | None:
        done = self._beginning
        if done.done() and not done.cancelled() and done.exception() is None:
            return done.result()
        return None

    async def _call(self) -> RawStream:
        return await asyncio.shield(self._beginning)

    def cancel(self) -> bool:
        """Gives the call up; False when it has ended already."""
        call = self._begun()
        return self._beginning.cancel() if call is None else call.cancel()

    def done(self) -> bool:
        """Whether the call has ended, or could not begin."""
        call = self._begun()
        return self._beginning.done() if call is None else call.done()

    async def code(self) -> grpc.StatusCode:
        """The status of the call, or of what kept it from beginning."""
        kept = await self._kept()
        return await (await self._call()).code() if kept is None else CODES[kept.status]

    async def details(self) -> str:
        """The text of the status."""
        kept = await self._kept()
        return await (await self._call()).details() if kept is None else kept.message

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """What came after the last message."""
        if await self._kept() is not None:
            return grpc.aio.Metadata()
        return await (await self._call()).trailing_metadata()

    async def _kept(self) -> OnexError | None:
        """What kept the call from beginning; None where it has begun."""
        await asyncio.wait((self._beginning,))
        if self._beginning.cancelled():
            return CallCancelledError("cancelled before it was known where its target is")
        error = self._beginning.exception()
        if error is not None and not isinstance(error, OnexError):
            raise error
        return error

    async def read(self) -> object:
        """The next response."""
        return await (await self._call()).read()

    async def write(self, request: Message) -> None:
        """Sends a request."""
        await (await self._call()).write(request)

    async def done_writing(self) -> None:
        """Says that no more requests come."""
        await (await self._call()).done_writing()

    def __await__(self) -> Generator[object, None, Message]:
        return self._response().__await__()

    async def _response(self) -> Message:
        return await cast("Awaitable[Message]", await self._call())
