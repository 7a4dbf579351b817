"""The in-process transport: calls between nodes of one process, through the same wrapper.

Messages travel as bytes here too, so that no two nodes share one; headers, deadlines, limits and
errors are those of the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from onex_grpc.rpc import limits
from onex_grpc.rpc.local_call import LocalCall
from onex_grpc.rpc.recorder import Registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    import grpc
    from google.protobuf.message import Message

    from onex_grpc.rpc.calls import CallRuntime
    from onex_grpc.rpc.outgoing import Fields

    Serializer = Callable[[Message], bytes]
    Deserializer = Callable[[bytes], Message]

S = TypeVar("S")


class LocalServer:
    """Serves the methods of servicers to a Mesh of the same process.

    Attributes:
        on_drain: what is called, in order, before anything else when draining begins.
    """

    def __init__(self, runtime: CallRuntime, *, message_bytes: int = limits.MESSAGE_BYTES) -> None:
        self.on_drain: list[Callable[[], Awaitable[None]]] = []
        self.message_bytes = message_bytes
        self._runtime = runtime
        self.registry = Registry(runtime, message_bytes)
        self.calls: set[LocalCall] = set()

    @property
    def services(self) -> Sequence[str]:
        """Full names of the services that were added."""
        return tuple(self.registry.services)

    def add(self, register: Callable[[S, grpc.aio.Server], None], servicer: S) -> None:
        """Adds a servicer; arguments and errors as those of `Server.add`."""
        self.registry.add(register, servicer)

    def channel(self) -> LocalChannel:
        """A connection to this server."""
        return LocalChannel(self)

    async def drain(self, grace: float) -> None:
        """Stops without losing a call: refuses new ones, lets those in flight finish.

        Args:
            grace: seconds after which calls that still run are cancelled.
        """
        for hook in self.on_drain:
            await hook()
        self._runtime.refuse_new()
        if not await self._runtime.wait_idle(grace):
            for call in list(self.calls):
                call.stop()
            await self._runtime.wait_idle(1.0)


class LocalChannel:
    """The part of grpc.aio.Channel that stubs use."""

    def __init__(self, server: LocalServer) -> None:
        self._server = server

    async def close(self) -> None:
        """Cancels the calls in flight."""
        for call in list(self._server.calls):
            call.cancel()

    def unary_unary(self, method: str, write: Serializer, read: Deserializer) -> _LocalMethod:
        """A method with one request and one response."""
        return _LocalMethod(self._server, method, write, read)

    def unary_stream(self, method: str, write: Serializer, read: Deserializer) -> _LocalMethod:
        """A method with one request and a stream of responses."""
        return _LocalMethod(self._server, method, write, read)

    def stream_unary(self, method: str, write: Serializer, read: Deserializer) -> _LocalStream:
        """A method with a stream of requests and one response."""
        return _LocalStream(self._server, method, write, read)

    def stream_stream(self, method: str, write: Serializer, read: Deserializer) -> _LocalStream:
        """A method with streams both ways."""
        return _LocalStream(self._server, method, write, read)


class _LocalMethod:
    def __init__(
        self, server: LocalServer, path: str, write: Serializer, read: Deserializer
    ) -> None:
        self._server = server
        self._path = path
        self._write = write
        self._read = read

    def __call__(
        self,
        request: Message,
        *,
        timeout: float | None,
        metadata: Fields,
        wait_for_ready: bool | None,
    ) -> LocalCall:
        raw = self._write(request)
        call = self._call(metadata, timeout)
        call.start(raw)
        return call

    def _call(self, metadata: Fields, timeout: float | None) -> LocalCall:
        server = self._server
        call = LocalCall(
            server.registry.find(self._path),
            tuple(metadata),
            timeout,
            self._write,
            self._read,
            server.message_bytes,
        )
        server.calls.add(call)
        call.when_done(server.calls.discard)
        return call


class _LocalStream(_LocalMethod):
    def __call__(
        self,
        request: object,
        *,
        timeout: float | None,
        metadata: Fields,
        wait_for_ready: bool | None,
    ) -> LocalCall:
        call = self._call(metadata, timeout)
        call.start(b"")
        if request is not None:
            call.feed(cast("AsyncIterator[Message] | Iterator[Message]", request))
        return call
