"""Thousands of calls at once: none is lost, whatever their shape and however they arrive."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import grpc
import pytest

from onex_grpc.errors import NodeUnavailableError
from onex_grpc.rpc import (
    CallRuntime,
    ClientTls,
    LocalServer,
    Mesh,
    Server,
    ServerOptions,
    ServerTls,
)
from onex_grpc.telemetry import NO_TELEMETRY
from tests.mesh.authority import Authority
from tests.mesh.rpc.conftest import Node, Stub
from tests.mesh.rpc.probe import Probe, Request, StreamProbe, StreamStub, add_probes, ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path

# grpc's own limits are 1,000 and 3,000 calls that have arrived and are not yet handled.
CALLS: Final = 3000
STREAMS: Final = 2000
pytestmark = pytest.mark.timeout(180)


@asynccontextmanager
async def served(tls: ServerTls | None = None) -> AsyncIterator[tuple[Server, str]]:
    """A node with default limits, and its address."""
    runtime = CallRuntime(node="compute/x", telemetry=NO_TELEMETRY)
    server = Server(runtime, ServerOptions(tls=tls))
    add_probes(server, Probe(), StreamProbe())
    yield server, f"127.0.0.1:{await server.start()}"
    await server.drain(0)


async def failures(calls: Iterable[Awaitable[object]]) -> list[BaseException]:
    """Return what went wrong with calls that are made at once."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    return [result for result in results if isinstance(result, BaseException)]


async def _unary(mesh: Mesh) -> None:
    await mesh.stub(Stub, "compute").ExecuteCompute(ask("echo"))


async def _responses(mesh: Mesh) -> None:
    count = mesh.stub(StreamStub, "compute").Count(ask("echo", size=2))
    assert len([response async for response in count]) == 2


async def _requests(mesh: Mesh) -> None:
    async def requests() -> AsyncIterator[Request]:
        for _ in range(2):
            yield ask("echo")

    await mesh.stub(StreamStub, "compute").Collect(requests())


async def _both(mesh: Mesh) -> None:
    echo = mesh.stub(StreamStub, "compute").Echo()
    await echo.write(ask("echo"))
    await echo.done_writing()
    await echo.read()
    assert await echo.read() is grpc.aio.EOF


@pytest.mark.parametrize("call", [_unary, _responses, _requests, _both])
async def test_burst_before_the_channel_is_connected(
    call: Callable[[Mesh], Awaitable[None]],
) -> None:
    async with served() as (_, address), Mesh({"compute": address}) as mesh:
        calls = CALLS if call is _unary else STREAMS
        assert await failures(call(mesh) for _ in range(calls)) == []


async def test_bursts_over_a_connection_that_is_there() -> None:
    async with served() as (_, address), Mesh({"compute": address}) as mesh:
        for _ in range(3):
            assert await failures(_unary(mesh) for _ in range(CALLS)) == []


async def test_burst_from_many_clients() -> None:
    async with served() as (_, address):
        meshes = [Mesh({"compute": address}) for _ in range(30)]
        assert await failures(_unary(mesh) for mesh in meshes for _ in range(CALLS // 30)) == []
        for mesh in meshes:
            await mesh.close()


async def test_burst_with_mutual_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "mesh")
    tls = ServerTls(*authority.issue("server"), authority.ca)
    client = ClientTls(authority.ca, *authority.issue("client"), server_name="node.test")
    async with served(tls) as (_, address), Mesh({"compute": address}, tls=client) as mesh:
        assert await failures(_unary(mesh) for _ in range(CALLS)) == []


async def test_burst_in_process() -> None:
    server = LocalServer(CallRuntime(node="compute/x", telemetry=NO_TELEMETRY))
    add_probes(server, Probe(), StreamProbe())
    async with Mesh({"compute": server}) as mesh:
        assert await failures(_unary(mesh) for _ in range(CALLS)) == []
    await server.drain(0)


async def test_burst_of_a_client_without_the_sdk() -> None:
    async with served() as (_, address), grpc.aio.insecure_channel(address) as channel:
        stub = Stub(channel)
        assert await failures(stub.ExecuteCompute(ask("echo")) for _ in range(CALLS)) == []


async def test_calls_that_are_given_up_in_a_burst_leave_the_others_alone() -> None:
    async with served() as (_, address), Mesh({"compute": address}) as mesh:
        given_up = [asyncio.ensure_future(_unary(mesh)) for _ in range(CALLS // 2)]
        kept = [asyncio.ensure_future(_unary(mesh)) for _ in range(CALLS // 2)]
        await asyncio.sleep(0)
        for call in given_up:
            call.cancel()
        assert await failures(kept) == []
        await asyncio.gather(*given_up, return_exceptions=True)


async def test_burst_while_the_node_drains_is_answered(network: Node) -> None:
    """Calls that came before go through; the others are told to go elsewhere."""
    held = asyncio.ensure_future(network.stub.ExecuteCompute(ask("hold")))
    await network.probe.running.wait()
    draining = asyncio.ensure_future(network.server.drain(30))
    await network.runtime.until_draining()
    refused = await failures(network.stub.ExecuteCompute(ask("echo")) for _ in range(CALLS))
    network.probe.release.set()

    assert len(refused) == CALLS
    for error in refused:
        assert isinstance(error, NodeUnavailableError)
        assert error.retry_after == 1.0
    await held
    await draining
