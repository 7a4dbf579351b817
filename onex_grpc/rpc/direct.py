"""Unary calls on grpc's C extension itself, without the objects and the task that grpc.aio puts
around each: a tenth of a call's time.

The extension is private to grpc. It is used only in versions whose every behaviour that is needed
here was tested; in others calls go through grpc.aio, with the same results.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Protocol

import grpc

from onex_grpc.errors import Status
from onex_grpc.rpc.status import code_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from onex_grpc.headers import Metadata
    from onex_grpc.rpc.outgoing import Fields

TESTED: Final = ((1, 76), (1, 85))
"""The first and the last minor version that are known to behave alike."""
_CLOSED: Final = "the mesh was closed"


class _CallStatus(Protocol):
    def code(self) -> int: ...
    def details(self) -> str: ...
    def trailing_metadata(self) -> Metadata: ...
    def debug_error_string(self) -> str: ...


class _Call(Protocol):
    """One call of the extension (`_AioCall`)."""

    async def unary_unary(
        self, request: bytes, metadata: Metadata, context: object
    ) -> bytes | None: ...
    async def status(self) -> _CallStatus: ...
    def is_ok(self) -> bool: ...
    def cancel(self, details: str) -> None: ...


class _Channel(Protocol):
    """A channel of the extension (`AioChannel`)."""

    def call(
        self, method: bytes, deadline: float | None, credentials: None, wait_for_ready: bool | None
    ) -> _Call: ...


class DirectUnary:
    """A method with one request and one response of a channel."""

    def __init__(
        self,
        channel: _Channel,
        path: str,
        write: Callable[[Message], bytes],
        read: Callable[[bytes], Message],
        in_flight: set[_Call],
    ) -> None:
        self._channel = channel
        self._path = path.encode()
        self._write = write
        self._read = read
        self._in_flight = in_flight

    async def __call__(
        self,
        request: Message,
        *,
        timeout: float | None,
        metadata: Fields,
        wait_for_ready: bool | None,
    ) -> Message:
        """Calls the method; errors as those of grpc.aio."""
        raw = self._write(request)
        deadline = None if timeout is None else time.time() + timeout
        call = self._channel.call(self._path, deadline, None, wait_for_ready)
        self._in_flight.add(call)
        try:
            response = await call.unary_unary(raw, tuple(metadata), None)
        except asyncio.CancelledError:
            call.cancel("Locally cancelled by application!")
            raise
        finally:
            self._in_flight.discard(call)
        if response is not None and call.is_ok():
            return self._read(response)
        raise await _error(call)


async def _error(call: _Call) -> grpc.aio.AioRpcError:
    status = await call.status()
    if status.details() == _CLOSED:
        # As grpc.aio has it: cancelled on this side, unlike a call that the other side cancels.
        raise asyncio.CancelledError(_CLOSED)
    return grpc.aio.AioRpcError(
        # A server that says OK and sends no response breaks the protocol.
        code_of(status.code() or Status.INTERNAL),
        grpc.aio.Metadata(),
        grpc.aio.Metadata(*status.trailing_metadata()),
        status.details(),
        status.debug_error_string(),
    )


def is_tested() -> bool:
    """Whether the grpc that is installed is one of those that were tested."""
    major, minor = (int(part) for part in grpc.__version__.split(".")[:2])
    return TESTED[0] <= (major, minor) <= TESTED[1]


class DirectCalls:
    """The direct methods of one channel, and their calls in flight, which grpc.aio knows nothing of
    when it closes the channel.
    """

    def __init__(self) -> None:
        self._in_flight: set[_Call] = set()

    @property
    def busy(self) -> bool:
        """Whether a call is in flight."""
        return bool(self._in_flight)

    def method(
        self,
        channel: grpc.aio.Channel,
        path: str,
        write: Callable[[Message], bytes],
        read: Callable[[bytes], Message],
    ) -> DirectUnary | None:
        """The direct method; None where grpc.aio has to be used."""
        inner = getattr(channel, "_channel", None)
        if inner is None or not hasattr(inner, "call") or not is_tested():
            return None
        return DirectUnary(inner, path, write, read, self._in_flight)

    def cancel(self) -> None:
        """Cancels the calls in flight."""
        for call in list(self._in_flight):
            call.cancel(_CLOSED)
