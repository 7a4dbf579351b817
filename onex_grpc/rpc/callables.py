"""The methods of a stub: the wrapper of a call at the client, once per method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from onex_grpc.rpc.deferred import DeferredStream
from onex_grpc.rpc.ending import keep_status
from onex_grpc.rpc.outgoing import ClientMethod, NoAnswer, Outgoing
from onex_grpc.rpc.stream import ClientStream, RawStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from google.protobuf.message import Message

    from onex_grpc.rpc.line import Line
    from onex_grpc.rpc.link import Link
    from onex_grpc.rpc.outgoing import Fields, GivenMetadata

    Requests = AsyncIterator[Message] | Iterator[Message]
    Serializer = Callable[[object], bytes]
    Deserializer = Callable[[bytes], Message]


class RawUnary(Protocol):
    """The transport's method with one request and one response."""

    def __call__(
        self,
        request: Message,
        *,
        timeout: float | None,
        metadata: Fields,
        wait_for_ready: bool | None,
    ) -> Awaitable[Message | None]: ...


class RawStreaming(Protocol):
    """The transport's method with a stream in it."""

    def __call__(
        self,
        request: object,
        *,
        timeout: float | None,
        metadata: Fields,
        wait_for_ready: bool | None,
    ) -> RawStream: ...


class UnaryUnary:
    """A method with one request and one response; the call begins when it is awaited."""

    def __init__(self, link: Link, path: str, bind: Callable[[Line], RawUnary]) -> None:
        self._link = link
        self._method = ClientMethod(link.peer, path)
        self._raw = link.bind(bind)

    async def __call__(
        self,
        request: Message,
        *,
        timeout: float | None = None,
        metadata: GivenMetadata = None,
        wait_for_ready: bool | None = None,
    ) -> Message:
        """Calls the method.

        Args:
            request: the message to send.
            timeout: seconds that the call may take; the time left of the current call goes first.
            metadata: headers of the user's own.
            wait_for_ready: whether to wait, within the timeout, for a node that cannot be reached.

        Raises:
            OnexError: the server's error again, or NodeUnavailableError.
        """
        outgoing = Outgoing(self._method, request)
        try:
            fields = outgoing.open(timeout, metadata)
            if self._link.line is None:
                outgoing.timeout = await self._link.arrive(outgoing.timeout, wait_for_ready)
            response = await self._raw()(
                request, timeout=outgoing.timeout, metadata=fields, wait_for_ready=wait_for_ready
            )
            if response is None:
                raise NoAnswer
        except BaseException as error:
            outgoing.fail(error)
        outgoing.end("OK")
        return response


class Streaming:
    """A method with a stream in it."""

    def __init__(self, link: Link, path: str, bind: Callable[[Line], RawStreaming]) -> None:
        self._link = link
        self._method = ClientMethod(link.peer, path)
        self._raw = link.bind(bind)

    def _begin(
        self,
        request: Message | Requests | None,
        first: Message | None,
        timeout: float | None,
        metadata: GivenMetadata,
        wait_for_ready: bool | None,
    ) -> ClientStream[Message]:
        outgoing = Outgoing(self._method, first)
        try:
            fields = outgoing.open(timeout, metadata)
            if self._link.line is None:
                return ClientStream(
                    DeferredStream(self._arrive(request, outgoing, fields, wait_for_ready)),
                    outgoing,
                )
            raw = self._raw()(
                request, timeout=outgoing.timeout, metadata=fields, wait_for_ready=wait_for_ready
            )
        except BaseException as error:
            outgoing.fail(error)
        keep_status(raw)
        return ClientStream(raw, outgoing)

    async def _arrive(
        self,
        request: Message | Requests | None,
        outgoing: Outgoing,
        fields: Fields,
        wait_for_ready: bool | None,
    ) -> RawStream:
        timeout = await self._link.arrive(outgoing.timeout, wait_for_ready)
        raw = self._raw()(request, timeout=timeout, metadata=fields, wait_for_ready=wait_for_ready)
        keep_status(raw)
        return raw


class UnaryStream(Streaming):
    """A method with one request and a stream of responses."""

    def __call__(
        self,
        request: Message,
        *,
        timeout: float | None = None,
        metadata: GivenMetadata = None,
        wait_for_ready: bool | None = None,
    ) -> ClientStream[Message]:
        """Begins the call; arguments as those of `UnaryUnary`."""
        return self._begin(request, request, timeout, metadata, wait_for_ready)


class StreamRequest(Streaming):
    """A method with a stream of requests, and one response or a stream of them."""

    def __call__(
        self,
        request_iterator: Requests | None = None,
        *,
        timeout: float | None = None,
        metadata: GivenMetadata = None,
        wait_for_ready: bool | None = None,
    ) -> ClientStream[Message]:
        """Begins the call; without an iterator, `write` the requests to it."""
        return self._begin(request_iterator, None, timeout, metadata, wait_for_ready)


class StubChannel:
    """The channel that a generated stub is built on: it makes our methods of its own."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def unary_unary(
        self,
        method: str,
        request_serializer: Serializer,
        response_deserializer: Deserializer,
        _registered_method: bool = False,
    ) -> UnaryUnary:
        """A method with one request and one response."""
        write, read = request_serializer, response_deserializer
        return UnaryUnary(
            self._link,
            method,
            lambda line: (
                line.direct.method(line.channel, method, write, read)
                or line.channel.unary_unary(method, write, read)
            ),
        )

    def unary_stream(
        self,
        method: str,
        request_serializer: Serializer,
        response_deserializer: Deserializer,
        _registered_method: bool = False,
    ) -> UnaryStream:
        """A method with one request and a stream of responses."""
        return UnaryStream(
            self._link,
            method,
            lambda line: cast(
                "RawStreaming",
                line.channel.unary_stream(method, request_serializer, response_deserializer),
            ),
        )

    def stream_unary(
        self,
        method: str,
        request_serializer: Serializer,
        response_deserializer: Deserializer,
        _registered_method: bool = False,
    ) -> StreamRequest:
        """A method with a stream of requests and one response."""
        return StreamRequest(
            self._link,
            method,
            lambda line: cast(
                "RawStreaming",
                line.channel.stream_unary(method, request_serializer, response_deserializer),
            ),
        )

    def stream_stream(
        self,
        method: str,
        request_serializer: Serializer,
        response_deserializer: Deserializer,
        _registered_method: bool = False,
    ) -> StreamRequest:
        """A method with streams both ways."""
        return StreamRequest(
            self._link,
            method,
            lambda line: cast(
                "RawStreaming",
                line.channel.stream_stream(method, request_serializer, response_deserializer),
            ),
        )
