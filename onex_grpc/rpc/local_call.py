"""One call of the in-process transport, with both of its ends."""

from __future__ import annotations

import asyncio
import time
from contextvars import Context
from typing import TYPE_CHECKING, NoReturn, cast

import grpc

from onex_grpc.rpc.pipe import Pipe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator

    from google.protobuf.message import Message

    from onex_grpc.headers import Metadata
    from onex_grpc.rpc.calls import Method
    from onex_grpc.rpc.transport import Served, Trailers


class LocalContext:
    """The handler's end: the part of grpc.aio.ServicerContext that the mesh uses."""

    def __init__(self, metadata: Metadata, deadline: float | None, message_bytes: int) -> None:
        self.requests = Pipe()
        self.responses = Pipe()
        self.trailers: Trailers = ()
        self._metadata = metadata
        self._deadline = deadline
        self._message_bytes = message_bytes
        self._code: grpc.StatusCode | None = None
        self._details = ""

    def invocation_metadata(self) -> Metadata:
        """The headers of the call."""
        return self._metadata

    def time_remaining(self) -> float | None:
        """Seconds until the deadline; None without a deadline."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def peer(self) -> str:
        """Where the call comes from."""
        return "inprocess:"

    def code(self) -> grpc.StatusCode | None:
        """The status that was set; None as long as none was."""
        return self._code

    def set_code(self, code: grpc.StatusCode) -> None:
        """Sets the status with which the call will end."""
        self._code = code

    def details(self) -> str:
        """The text of the status that was set."""
        return self._details

    def set_details(self, details: str) -> None:
        """Sets the text of the status."""
        self._details = details

    def set_trailing_metadata(self, trailing_metadata: Trailers) -> None:
        """Sets what travels after the last message."""
        self.trailers = trailing_metadata

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Trailers = ()
    ) -> NoReturn:
        """Ends the call with a status."""
        self._code, self._details = code, details
        self.trailers = trailing_metadata or self.trailers
        raise grpc.aio.AbortError("Locally aborted.")

    async def read(self) -> object:
        """The next request as bytes; grpc.aio.EOF after the last."""
        return await self.requests.get()

    async def write(self, message: bytes) -> None:
        """Sends a response."""
        if len(message) > self._message_bytes:
            await self.abort(*too_large("SERVER", message, self._message_bytes))
        await self.responses.put(message)


def too_large(side: str, message: bytes, limit: int) -> tuple[grpc.StatusCode, str]:
    """Status and text for a message beyond its limit, as gRPC has them."""
    text = f"{side}: Sent message larger than max ({len(message)} vs. {limit})"
    return grpc.StatusCode.RESOURCE_EXHAUSTED, text


class LocalCall:
    """The caller's end: the part of grpc.aio's calls that the mesh uses."""

    def __init__(
        self,
        found: tuple[Method, Served] | None,
        metadata: Metadata,
        timeout: float | None,
        write: Callable[[Message], bytes],
        read: Callable[[bytes], Message],
        message_bytes: int,
    ) -> None:
        self._found = found
        self._write = write
        self._read = read
        self._message_bytes = message_bytes
        self._loop = asyncio.get_running_loop()
        deadline = None if timeout is None else time.monotonic() + timeout
        self._context = LocalContext(metadata, deadline, message_bytes)
        self._timer = None if timeout is None else self._loop.call_later(timeout, self._expire)
        self._is_over = False
        self._waiting: list[asyncio.Future[None]] = []
        self._code = grpc.StatusCode.OK
        self._details = ""
        self._response = b""
        self._cancelled_here = False
        self._tasks: list[asyncio.Task[None]] = []
        self._when_done: Callable[[LocalCall], object] | None = None

    def start(self, raw: bytes) -> None:
        """Runs the handler in a task, and a context, of its own."""
        if self._found is None:
            self._end(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        elif len(raw) > self._message_bytes:
            self._end(*too_large("CLIENT", raw, self._message_bytes))
        else:
            task = self._loop.create_task(self._serve(self._found[1], raw), context=Context())
            self._tasks.append(task)

    def when_done(self, callback: Callable[[LocalCall], object]) -> None:
        """Calls back once when the call has ended."""
        self._when_done = callback

    def feed(self, requests: AsyncIterator[Message] | Iterator[Message]) -> None:
        """Sends what an iterator yields."""
        self._tasks.append(self._loop.create_task(self._feed(requests)))

    async def _feed(self, requests: AsyncIterator[Message] | Iterator[Message]) -> None:
        try:
            if hasattr(requests, "__aiter__"):
                async for request in requests:
                    await self.write(request)
            else:
                for request in requests:
                    await self.write(request)
        except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
            # The call has ended; its reader is told why.
            return
        except Exception:
            self.cancel()
            raise
        await self.done_writing()

    async def _serve(self, served: Served, raw: bytes) -> None:
        context = self._context
        try:
            response = await cast("Awaitable[bytes | None]", served(raw, context))
        except grpc.aio.AbortError:
            response = b""
        except asyncio.CancelledError:
            self._end(grpc.StatusCode.UNAVAILABLE, "the node stopped")
            raise
        except BaseException:
            # The wrapper answers every error of a handler; this one is for the process. Its caller
            # must not wait for an answer that never comes.
            self._end(grpc.StatusCode.INTERNAL, "the node broke off the call")
            raise
        code = context.code() or grpc.StatusCode.OK
        if response and len(response) > self._message_bytes:
            self._end(*too_large("SERVER", response, self._message_bytes))
            return
        self._response = response or b""
        self._end(code, context.details())

    def _expire(self) -> None:
        self._end(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        self._cancel_tasks()

    def stop(self) -> None:
        """Ends the call because its server ends."""
        self._end(grpc.StatusCode.UNAVAILABLE, "the node stopped")
        self._cancel_tasks()

    def cancel(self) -> bool:
        """Gives the call up; False when it has ended already."""
        if self._is_over:
            return False
        self._cancelled_here = True
        self._end(grpc.StatusCode.CANCELLED, "Locally cancelled by application!")
        self._cancel_tasks()
        return True

    def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _end(self, code: grpc.StatusCode, details: str) -> None:
        if self._is_over:
            return
        self._code, self._details = code, details
        if self._timer is not None:
            self._timer.cancel()
        self._context.requests.close()
        self._context.responses.close()
        self._is_over = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        if self._when_done is not None:
            self._when_done(self)

    async def _end_of_call(self) -> None:
        if not self._is_over:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(waiter)
            await waiter

    async def _wait(self) -> None:
        try:
            await self._end_of_call()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if self._code is grpc.StatusCode.OK:
            return
        if self._cancelled_here:
            raise asyncio.CancelledError
        raise grpc.aio.AioRpcError(
            self._code,
            grpc.aio.Metadata(),
            grpc.aio.Metadata(*self._context.trailers),
            self._details,
        )

    def __await__(self) -> Generator[object, None, Message]:
        yield from self._wait().__await__()
        return self._read(self._response)

    async def read(self) -> object:
        """The next response; grpc.aio.EOF after the last."""
        try:
            message = await self._context.responses.get()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if message is not grpc.aio.EOF:
            return self._read(cast("bytes", message))
        await self._wait()
        return message

    async def write(self, request: Message) -> None:
        """Sends a request."""
        if self._is_over:
            raise asyncio.InvalidStateError("RPC already finished.")
        raw = self._write(request)
        if len(raw) > self._message_bytes:
            self._end(*too_large("CLIENT", raw, self._message_bytes))
            self._cancel_tasks()
            await self._wait()
        await self._context.requests.put(raw)

    async def done_writing(self) -> None:
        """Says that no more requests come."""
        self._context.requests.close()

    def done(self) -> bool:
        """Whether the call has ended."""
        return self._is_over

    async def code(self) -> grpc.StatusCode:
        """The status, once the call has ended."""
        await self._end_of_call()
        return self._code

    async def details(self) -> str:
        """The text of the status, once the call has ended."""
        await self._end_of_call()
        return self._details

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """What came after the last message, once the call has ended."""
        await self._end_of_call()
        return grpc.aio.Metadata(*self._context.trailers)
