"""A node over real sockets and the same one in this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import pytest

from onex.v1 import compute_pb2_grpc
from onex_grpc.rpc import (
    CallRuntime,
    ClientOptions,
    LocalServer,
    Mesh,
    Server,
    ServerOptions,
    direct,
)
from onex_grpc.rpc.direct import is_tested
from onex_grpc.telemetry import NO_TELEMETRY
from tests.mesh.rpc.probe import Probe, StreamProbe, StreamStub, add_probes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Stub = compute_pb2_grpc.ComputeNodeServiceStub


@dataclass
class Node:
    """A node that runs, and a mesh that knows it."""

    runtime: CallRuntime
    server: Server | LocalServer
    mesh: Mesh
    probe: Probe
    streams: StreamProbe
    address: str = ""

    @property
    def stub(self) -> compute_pb2_grpc.ComputeNodeServiceStub:
        """The probe's methods."""
        return self.mesh.stub(Stub, "compute/probe")

    @property
    def stream_stub(self) -> StreamStub:
        """The stream probe's methods."""
        return self.mesh.stub(StreamStub, "compute/probe")


async def _serve() -> AsyncIterator[Node]:
    """A node behind a socket, messages limited to 1,500 bytes."""
    runtime = CallRuntime(node="compute/probe", telemetry=NO_TELEMETRY)
    server = Server(runtime, ServerOptions(message_bytes=1500))
    probe, streams = Probe(), StreamProbe()
    add_probes(server, probe, streams)
    address = f"127.0.0.1:{await server.start()}"
    options = ClientOptions(message_bytes=10_000)
    mesh = Mesh({"compute/probe": address}, caller="orchestrator/test", options=options)
    yield Node(runtime, server, mesh, probe, streams, address)
    await mesh.close()
    await server.drain(0.0)


@pytest.fixture
async def network() -> AsyncIterator[Node]:
    """A node behind a socket."""
    assert is_tested(), "widen or narrow onex_grpc.rpc.direct.TESTED for this grpc"
    async for found in _serve():
        yield found


@pytest.fixture
async def public_network(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    """The same, called through grpc.aio as with a grpc that is not known."""
    monkeypatch.setattr(direct, "TESTED", ((0, 0), (0, 0)))
    async for found in _serve():
        yield found


@pytest.fixture
async def local() -> AsyncIterator[Node]:
    """The same node in this process."""
    runtime = CallRuntime(node="compute/probe", telemetry=NO_TELEMETRY)
    server = LocalServer(runtime, message_bytes=1500)
    probe, streams = Probe(), StreamProbe()
    add_probes(server, probe, streams)
    mesh = Mesh({"compute/probe": server}, caller="orchestrator/test")
    yield Node(runtime, server, mesh, probe, streams)
    await mesh.close()
    await server.drain(0.0)


@pytest.fixture(params=["network", "public_network", "local"])
def node(request: pytest.FixtureRequest) -> Node:
    """The node by either transport."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Node)
    return found


@pytest.fixture
async def raw(network: Node) -> AsyncIterator[compute_pb2_grpc.ComputeNodeServiceStub]:
    """A client that knows nothing of the SDK."""
    async with grpc.aio.insecure_channel(network.address) as channel:
        yield Stub(channel)
