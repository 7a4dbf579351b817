"""A server over real sockets: what other clients see, ports, limits, draining."""

from __future__ import annotations

import asyncio
import socket
import uuid
from typing import TYPE_CHECKING, TypeAlias, cast

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from onex.v1 import compute_pb2, compute_pb2_grpc, error_pb2
from onex_grpc import headers
from onex_grpc.errors import (
    ConfigurationError,
    FlowViolationError,
    NodeUnavailableError,
    TargetNotFoundError,
)
from onex_grpc.rpc import CallRuntime, Mesh, Method, Server, ServerOptions
from onex_grpc.telemetry import NO_TELEMETRY
from tests.mesh.rpc.conftest import Node, Stub
from tests.mesh.rpc.probe import SECRET, Probe, StreamProbe, StreamStub, add_probes, ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from onex_grpc.context import CallContext
    from onex_grpc.rpc.calls import Handler

LEASE = {
    headers.WORKFLOW_ID: "order-1",
    headers.LEASE_ID: str(uuid.UUID(int=1)),
    headers.FENCE: "7",
    headers.LEASE_TOKEN: "token",
}


async def refused(
    raw: compute_pb2_grpc.ComputeNodeServiceStub,
    metadata: dict[str, str],
    behaviour: str = "echo",
) -> grpc.aio.AioRpcError:
    """The error that a call with these headers ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await raw.ExecuteCompute(ask(behaviour), metadata=tuple(metadata.items()))
    return caught.value


def _rich(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """As grpc's own package reads it, which insists on code and text being the same twice."""
    status = rpc_status.from_call(error)  # type: ignore[no-untyped-call]
    assert isinstance(status, status_pb2.Status)
    return status


def violations(error: grpc.aio.AioRpcError) -> set[str]:
    """The fields that an error names."""
    status = _rich(error)
    bad = error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.TypeName() == bad.DESCRIPTOR.full_name:
            detail.Unpack(bad)
    return {violation.field for violation in bad.field_violations}


@pytest.mark.parametrize("missing", LEASE)
async def test_partial_lease_headers(
    raw: compute_pb2_grpc.ComputeNodeServiceStub, missing: str
) -> None:
    error = await refused(raw, {k: v for k, v in LEASE.items() if k != missing})
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert violations(error) == {missing}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (headers.CORRELATION_ID, "not-a-uuid"),
        (headers.ACTION_ID, "6f9619ff"),
        (headers.LEASE_ID, "6f9619ff-8b86-4011-b42d-00c04fc964fg"),
        (headers.FENCE, "-1"),
        (headers.FENCE, "0"),
        (headers.FENCE, "9223372036854775808"),
        (headers.EPOCH, "1.5"),
        (headers.EPOCH, "99999999999999999999"),
        (headers.WORKFLOW_ID, "a b"),
        (headers.CALLER, "a b"),
    ],
)
async def test_malformed_header(
    raw: compute_pb2_grpc.ComputeNodeServiceStub, network: Node, name: str, text: str
) -> None:
    error = await refused(raw, {**LEASE, name: text})
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert violations(error) == {name}
    assert not network.probe.calls
    await raw.ExecuteCompute(ask("echo"))


async def test_repeated_header(raw: compute_pb2_grpc.ComputeNodeServiceStub) -> None:
    twice = ((headers.CALLER, "compute/a"), (headers.CALLER, "compute/b"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await raw.ExecuteCompute(ask("echo"), metadata=twice)
    assert violations(caught.value) == {headers.CALLER}


@pytest.mark.parametrize(
    "metadata",
    [{**LEASE, headers.LEASE_TOKEN: "x" * 1000}, {headers.BAGGAGE: "x" * 513}, {"big": "x" * 9000}],
)
async def test_oversized_headers(
    raw: compute_pb2_grpc.ComputeNodeServiceStub, metadata: dict[str, str]
) -> None:
    error = await refused(raw, metadata)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await raw.ExecuteCompute(ask("echo"))


async def test_bytes_that_are_no_message(network: Node) -> None:
    async with grpc.aio.insecure_channel(network.address) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/onex.v1.ComputeNodeService/ExecuteCompute"
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"\xff\xff\xff", metadata=((headers.CORRELATION_ID, str(uuid.UUID(int=3))),))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert _detail(caught.value).correlation_id == str(uuid.UUID(int=3))


def _detail(error: grpc.aio.AioRpcError) -> error_pb2.ErrorDetail:
    status = _rich(error)
    detail = error_pb2.ErrorDetail()
    assert any(packed.Unpack(detail) for packed in status.details)
    return detail


async def test_planted_secret_reaches_no_client(
    raw: compute_pb2_grpc.ComputeNodeServiceStub,
) -> None:
    error = await refused(raw, {}, "secret")
    assert error.code() is grpc.StatusCode.INTERNAL
    assert SECRET not in repr(error)
    assert all(SECRET.encode() not in str(v).encode() for _, v in error.trailing_metadata())
    assert _detail(error).node == "compute/probe"


async def test_path_tricks_find_nothing(network: Node) -> None:
    async with grpc.aio.insecure_channel(network.address) as channel:
        for path in (
            "/onex.v1.ComputeNodeService/executeCompute",
            "/onex.v1.ComputeNodeService/ExecuteCompute/",
            "//onex.v1.ComputeNodeService/ExecuteCompute",
            "/onex.v1.ComputeNodeService/ExecuteCompute?x",
            "/onex.v1.ComputeNodeService%2FExecuteCompute",
        ):
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


_Reflection: TypeAlias = (
    "grpc.aio.StreamStreamCall[reflection_pb2.ServerReflectionRequest, "
    "reflection_pb2.ServerReflectionResponse]"
)


async def test_reflection_names_the_services(network: Node) -> None:
    async with grpc.aio.insecure_channel(network.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(cast("grpc.Channel", channel))
        call = cast("_Reflection", stub.ServerReflectionInfo())  # type: ignore[operator]
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        answer = await call.read()
        await call.done_writing()
    assert isinstance(answer, reflection_pb2.ServerReflectionResponse)
    names = {service.name for service in answer.list_services_response.service}
    assert "onex.v1.ComputeNodeService" in names


def _server(options: ServerOptions) -> Server:
    server = Server(CallRuntime(node="compute/x", telemetry=NO_TELEMETRY), options)
    add_probes(server, Probe(), StreamProbe())
    return server


async def test_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} on 127.0.0.1"):
            await _server(ServerOptions(port=port)).start()


async def test_two_servers_do_not_share_a_port(network: Node) -> None:
    port = int(network.address.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match=str(port)):
        await _server(ServerOptions(port=port)).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.invalid"])  # noqa: S104
async def test_only_loopback_is_bound_without_tls(host: str) -> None:
    with pytest.raises(ConfigurationError, match="no TLS"):
        await _server(ServerOptions(host=host)).start()


async def test_service_added_twice() -> None:
    server = _server(ServerOptions())
    with pytest.raises(ConfigurationError, match="added twice"):
        add_probes(server, Probe(), StreamProbe())


async def test_unreachable_node_is_named() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        mesh = Mesh({"compute/gone": address})
        with pytest.raises(NodeUnavailableError) as caught:
            await mesh.stub(Stub, "compute/gone").ExecuteCompute(ask("echo"))
        await mesh.close()
    assert f"compute/gone at {address} cannot be reached" in caught.value.message
    assert caught.value.context == {"target": "compute/gone", "address": address}


async def test_unknown_target_names_the_known(network: Node) -> None:
    assert network.mesh.stub(Stub, "compute") is not None
    with pytest.raises(TargetNotFoundError, match="compute/probe"):
        network.mesh.stub(Stub, "reducer")


async def test_call_waits_for_a_node_that_comes_back(network: Node) -> None:
    await network.server.drain(1.0)
    task = asyncio.ensure_future(
        network.stub.ExecuteCompute(ask("echo"), wait_for_ready=True, timeout=10)
    )
    port = int(network.address.rpartition(":")[2])
    again = _server(ServerOptions(port=port))
    await again.start()
    await task
    await again.drain(0)


async def test_draining_lets_calls_finish_and_refuses_new_ones(network: Node) -> None:
    said: list[bool] = []

    async def not_serving() -> None:
        said.append(network.runtime.draining)

    assert isinstance(network.server, Server)
    network.server.on_drain.append(not_serving)
    held = asyncio.ensure_future(network.stub.ExecuteCompute(ask("hold")))
    await network.probe.running.wait()
    draining = asyncio.ensure_future(network.server.drain(10))
    await asyncio.wait_for(network.runtime.until_draining(), 5)
    with pytest.raises(NodeUnavailableError, match="draining") as caught:
        await network.stub.ExecuteCompute(ask("echo"))
    assert caught.value.retry_after is not None
    assert not draining.done()
    network.probe.release.set()
    assert (await held).correlation_id
    await draining
    assert said == [False]
    with pytest.raises(NodeUnavailableError, match="cannot be reached"):
        await network.stub.ExecuteCompute(ask("echo"))


async def test_draining_ends_calls_that_take_too_long(network: Node) -> None:
    held = asyncio.ensure_future(network.stub.ExecuteCompute(ask("hold")))
    await network.probe.running.wait()
    await network.server.drain(0.1)
    assert network.probe.cancelled.is_set()
    with pytest.raises(NodeUnavailableError):
        await held


async def test_a_call_that_the_other_side_cancels_is_a_node_that_goes_away() -> None:
    # As grpc's server ends a call that reaches it while it stops.
    class Leaving(compute_pb2_grpc.ComputeNodeServiceServicer):
        async def ExecuteCompute(
            self, request: compute_pb2.ModelContractCompute, context: object
        ) -> compute_pb2.ModelComputeOutput:
            ending = cast("grpc.aio.ServicerContext[object, object]", context)
            await ending.abort(grpc.StatusCode.CANCELLED)
            raise AssertionError

        def ExecuteComputeStream(
            self, request_iterator: AsyncIterator[compute_pb2.ModelContractCompute], context: object
        ) -> AsyncIterator[compute_pb2.ModelComputeOutput]:
            raise NotImplementedError

    server = grpc.aio.server()
    compute_pb2_grpc.add_ComputeNodeServiceServicer_to_server(Leaving(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    mesh = Mesh({"compute": f"127.0.0.1:{port}"})
    with pytest.raises(NodeUnavailableError, match="broken off"):
        await mesh.stub(Stub, "compute").ExecuteCompute(ask("echo"))
    await mesh.close()
    await server.stop(0)


async def test_draining_waits_for_what_is_left_of_an_aborted_call(network: Node) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        async with grpc.aio.insecure_channel(network.address) as channel:
            await Stub(channel).ExecuteCompute(ask("abort"))
    await network.server.drain(5)
    assert network.runtime.in_flight == 0


async def test_admissions_and_middleware_see_each_call() -> None:
    seen: list[str] = []

    def admit(call: CallContext, method: Method) -> None:
        seen.append(f"admit {method.service}")
        if call.caller == "reducer/x":
            raise FlowViolationError("not allowed")

    async def admit_later(call: CallContext, method: Method) -> None:
        await asyncio.sleep(0)
        seen.append("later")

    def layer(method: Method, handler: Handler) -> Handler:
        def wrapped(request: object, context: object) -> object:
            seen.append(f"layer {method.name}")
            return handler(request, context)

        return wrapped  # type: ignore[return-value]

    runtime = CallRuntime(
        node="compute/x",
        telemetry=NO_TELEMETRY,
        admissions=[admit, admit_later],
        middleware=[layer],
    )
    server = Server(runtime, ServerOptions())
    add_probes(server, Probe(), StreamProbe())
    address = f"127.0.0.1:{await server.start()}"
    allowed, forbidden = Mesh({"compute": address}), Mesh({"compute": address}, caller="reducer/x")
    await allowed.stub(Stub, "compute").ExecuteCompute(ask("echo"))
    assert [r async for r in allowed.stub(StreamStub, "compute").Count(ask("count", size=1))]
    name = "onex.v1.ComputeNodeService"
    assert seen[:3] == [f"admit {name}", "later", f"layer {name}/ExecuteCompute"]
    assert seen[3:] == ["admit onex.test.Streams", "later", "layer onex.test.Streams/Count"]
    with pytest.raises(FlowViolationError):
        await forbidden.stub(Stub, "compute").ExecuteCompute(ask("echo"))
    await allowed.close()
    await forbidden.close()
    await server.drain(1)
