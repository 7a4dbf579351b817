"""What the wrapper of a call needs of the transport below it: grpc.aio, or the in-process one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

if TYPE_CHECKING:
    import grpc

    from onex_grpc.headers import Metadata


# grpc converts a call's metadata at each look; the one that finds the method is enough.
incoming: Final[ContextVar[Metadata | None]] = ContextVar("onex_incoming_metadata", default=None)


Trailers = tuple[tuple[str, str | bytes], ...]


class ServerContext(Protocol):
    """One call at the server, as grpc.aio.ServicerContext has it; messages are bytes here."""

    def invocation_metadata(self) -> Metadata:
        """The headers of the call."""

    def time_remaining(self) -> float | None:
        """Seconds until the deadline; None without a deadline."""

    def code(self) -> grpc.StatusCode | None:
        """The status that was set; None as long as none was."""

    def set_code(self, code: grpc.StatusCode) -> None:
        """Sets the status with which the call will end."""

    def set_details(self, details: str) -> None:
        """Sets the text of the status."""

    def set_trailing_metadata(self, trailing_metadata: tuple[tuple[str, bytes], ...]) -> None:
        """Sets what travels after the last message."""

    async def abort(
        self, code: grpc.StatusCode, details: str, trailing_metadata: Trailers
    ) -> NoReturn:
        """Ends the call with a status."""

    async def read(self) -> object:
        """The next request as bytes; grpc.aio.EOF after the last."""

    async def write(self, message: bytes) -> None:
        """Sends a response."""


UnaryServed = Callable[[bytes, ServerContext], Awaitable[bytes]]
"""A wrapped method with one response; a stream of requests is read from the context."""

StreamServed = Callable[[bytes, ServerContext], Awaitable[None]]
"""A wrapped method that writes its responses to the context."""

Served = UnaryServed | StreamServed
