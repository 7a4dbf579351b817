"""A servicer whose behaviour the request chooses, and a service with streams."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

import grpc

from onex.v1 import common_pb2, compute_pb2, compute_pb2_grpc
from onex_grpc.context import CallContext, current_call
from onex_grpc.errors import OnexError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from google.protobuf.message import Message

    from onex_grpc.rpc import LocalServer, Server

Request = compute_pb2.ModelContractCompute
Response = compute_pb2.ModelComputeOutput
SECRET = "hunter2-planted-secret"


def ask(behaviour: str, correlation_id: str = "", size: int = 0) -> Request:
    """A request that chooses a behaviour, with so many bytes of text in it."""
    request = Request(
        correlation_id=correlation_id,
        algorithm_config=compute_pb2.AlgorithmConfig(algorithm_type=behaviour),
        input_data=common_pb2.Data(),
    )
    request.input_data.value.string_value = "x" * size
    return request


class Probe(compute_pb2_grpc.ComputeNodeServiceServicer):
    """Does what the algorithm's name says."""

    def __init__(self) -> None:
        self.calls: list[CallContext] = []
        self.error: BaseException = OnexError("unset")
        self.onward: Callable[[], object] | None = None
        self.ending: Callable[[Any], Awaitable[None]] | None = None
        self.running = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.cancelled_at = 0.0

    def ExecuteComputeStream(
        self, request_iterator: AsyncIterator[Request], context: object
    ) -> AsyncIterator[Response]:
        """Not probed: streams have a service of their own here."""
        raise NotImplementedError

    async def ExecuteCompute(self, request: Request, context: object) -> Response:
        """Runs the behaviour."""
        call = current_call()
        assert call is not None
        self.calls.append(call)
        match request.algorithm_config.algorithm_type:
            case "secret":
                raise ValueError(SECRET)
            case "fail":
                raise self.error
            case "stray":
                raise asyncio.CancelledError
            case "abort":
                abortable = cast("grpc.aio.ServicerContext[Request, Response]", context)
                await abortable.abort(grpc.StatusCode.NOT_FOUND, "aborted by the handler")
            case "status":
                assert self.ending is not None
                await self.ending(context)
            case "hold":
                await self._hold()
            case "large":
                return Response(processed_data=ask("", size=2000).input_data)
            case "onward":
                assert self.onward is not None
                await cast("asyncio.Future[object]", self.onward())
        return Response(correlation_id=request.correlation_id)

    async def _hold(self) -> None:
        self.running.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled_at = time.monotonic()
            self.cancelled.set()
            raise


class StreamProbe:
    """One method of each shape with a stream in it."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.received: list[Request] = []
        self.error: BaseException | None = None

    async def Count(self, request: Request, context: object) -> AsyncIterator[Response]:
        """Answers as often as the text is long; fails in the end if it shall."""
        try:
            for _ in request.input_data.value.string_value:
                yield Response(correlation_id=request.correlation_id)
            self._fail()
            if request.algorithm_config.algorithm_type == "fail":
                raise ValueError(SECRET)
            if request.algorithm_config.algorithm_type == "hold":
                await asyncio.Event().wait()
        finally:
            self.closed.set()

    async def Collect(self, requests: AsyncIterator[Request], context: object) -> Response:
        """Answers once, when all requests are there."""
        async for request in requests:
            self.received.append(request)
        self._fail()
        return Response(correlation_id=self.received[-1].correlation_id)

    async def Echo(
        self, requests: AsyncIterator[Request], context: object
    ) -> AsyncIterator[Response]:
        """Answers each request."""
        async for request in requests:
            self.received.append(request)
            yield Response(correlation_id=request.correlation_id)
        self._fail()

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


def add_streams(servicer: StreamProbe, server: grpc.aio.Server) -> None:
    """What the generator would make of a service of these three methods."""
    write = cast("Callable[[Message], bytes]", Response.SerializeToString)
    handlers = {
        "Count": grpc.unary_stream_rpc_method_handler(
            servicer.Count,
            request_deserializer=Request.FromString,
            response_serializer=write,
        ),
        "Collect": grpc.stream_unary_rpc_method_handler(
            servicer.Collect,
            request_deserializer=Request.FromString,
            response_serializer=write,
        ),
        "Echo": grpc.stream_stream_rpc_method_handler(
            servicer.Echo,
            request_deserializer=Request.FromString,
            response_serializer=write,
        ),
    }
    server.add_registered_method_handlers("onex.test.Streams", handlers)


class StreamStub:
    """The stub of that service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        write, read = Request.SerializeToString, Response.FromString
        self.Count: grpc.aio.UnaryStreamMultiCallable[Request, Response] = channel.unary_stream(
            "/onex.test.Streams/Count", request_serializer=write, response_deserializer=read
        )
        self.Collect: grpc.aio.StreamUnaryMultiCallable[Request, Response] = channel.stream_unary(
            "/onex.test.Streams/Collect", request_serializer=write, response_deserializer=read
        )
        self.Echo: grpc.aio.StreamStreamMultiCallable[Request, Response] = channel.stream_stream(
            "/onex.test.Streams/Echo", request_serializer=write, response_deserializer=read
        )


def add_probes(server: Server | LocalServer, probe: Probe, streams: StreamProbe) -> None:
    """Adds both services."""
    server.add(compute_pb2_grpc.add_ComputeNodeServiceServicer_to_server, probe)
    server.add(add_streams, streams)
