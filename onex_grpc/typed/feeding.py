"""A call to which a stream of requests is sent while its responses are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from typing import TYPE_CHECKING

from onex_grpc.errors import OnexError
from onex_grpc.rpc.passage import is_asked_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from types import TracebackType

    from google.protobuf.message import Message

    from onex_grpc.rpc.stream import ClientStream


class Feeding:
    """Sends requests while the block runs; what their source raises ends the call, and the block.

    Leaving the block cancels a call that has not ended.
    """

    def __init__(
        self,
        begin: Callable[[], ClientStream[Message]],
        requests: Iterable[Message] | AsyncIterable[Message],
        check: Callable[[Message], None],
    ) -> None:
        """Takes `check`, which raises for a request that must not be sent."""
        self._begin = begin
        self._check = check
        self._requests = requests
        self._fault: BaseException | None = None

    async def __aenter__(self) -> ClientStream[Message]:
        self._call = self._begin()
        self._task = asyncio.create_task(self._send())
        return self._call

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._call.cancel()
        self._task.cancel()
        await asyncio.wait((self._task,))
        if self._fault is not None and isinstance(exc, OnexError):
            raise self._fault from None

    async def _send(self) -> None:
        source = _each(self._requests)
        try:
            async for request in source:
                self._check(request)
                if not await self._sent(self._call.write(request)):
                    return
            await self._sent(self._call.done_writing())
        except (Exception, asyncio.CancelledError) as error:
            # A cancellation that nobody asked for is a fault of the source's own.
            if isinstance(error, asyncio.CancelledError) and is_asked_for():
                raise
            self._fault = error
            self._call.cancel()
        finally:
            await source.aclose()

    async def _sent(self, sending: Awaitable[None]) -> bool:
        try:
            await sending
        except OnexError:
            # The call has ended; who reads it is told why.
            return False
        return True


async def _each(
    requests: Iterable[Message] | AsyncIterable[Message],
) -> AsyncGenerator[Message, None]:
    if isinstance(requests, AsyncIterable):
        try:
            async for request in requests:
                yield request
        finally:
            if isinstance(requests, AsyncGenerator):
                await requests.aclose()
        return
    for request in requests:
        yield request
