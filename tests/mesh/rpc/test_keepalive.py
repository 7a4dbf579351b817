"""Connections on which nothing happens: both sides ping, and neither ends the connection."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import pytest

from onex_grpc.errors import ConfigurationError
from onex_grpc.rpc import (
    CallRuntime,
    ClientOptions,
    ClientTls,
    Keepalive,
    Mesh,
    Server,
    ServerOptions,
    ServerTls,
)
from onex_grpc.telemetry import NO_TELEMETRY
from tests.mesh.authority import Authority
from tests.mesh.rpc.conftest import Stub
from tests.mesh.rpc.probe import Probe, Request, StreamProbe, StreamStub, add_probes, ask
from tests.mesh.rpc.wiretap import Wiretap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# Pings as often as gRPC allows, in the proportions of the defaults.
SHORT = Keepalive(every=1.0, answer_within=30.0, accepts_every=0.25)
# A server disconnects at the third early ping, the fourth in all.
ENOUGH = 6


@dataclass
class Pair:
    """A node, a mesh that calls it, and the wire between them."""

    mesh: Mesh
    wire: Wiretap

    async def call(self) -> None:
        """Make one call."""
        await self.mesh.stub(Stub, "compute").ExecuteCompute(ask("echo"), timeout=10)

    @property
    def streams(self) -> StreamStub:
        """The probe's streams."""
        return self.mesh.stub(StreamStub, "compute")

    async def until_pinged(self, *sides: str) -> None:
        """Wait until each side has pinged so often that it would have been disconnected."""
        async with asyncio.timeout(30):
            await self.wire.until(
                lambda: (
                    bool(self.wire.goaways)
                    or all(self.wire.pings[side] >= ENOUGH for side in sides)
                )
            )


@asynccontextmanager
async def paired(
    server_tls: ServerTls | None = None, client_tls: ClientTls | None = None
) -> AsyncIterator[Pair]:
    """A node and a mesh with short keepalive."""
    runtime = CallRuntime(node="compute/x", telemetry=NO_TELEMETRY)
    server = Server(runtime, ServerOptions(tls=server_tls, keepalive=SHORT))
    add_probes(server, Probe(), StreamProbe())
    async with Wiretap(await server.start(), encrypted=server_tls is not None) as wire:
        options = ClientOptions(keepalive=SHORT)
        address = f"127.0.0.1:{wire.port}"
        async with Mesh({"compute": address}, tls=client_tls, options=options) as mesh:
            yield Pair(mesh, wire)
        await server.drain(0)


async def test_connection_without_calls_stays() -> None:
    async with paired() as pair:
        await pair.call()
        await pair.until_pinged("client", "server")
        await pair.call()

        assert pair.wire.goaways == []
        assert pair.wire.connections == 1


async def test_stream_without_messages_stays() -> None:
    async with paired() as pair:
        echo = pair.streams.Echo()
        await echo.write(ask("echo"))
        await echo.read()
        await pair.until_pinged("client", "server")
        await echo.write(ask("echo"))
        await echo.read()
        await echo.done_writing()

        assert await echo.read() is grpc.aio.EOF
        assert pair.wire.goaways == []
        assert pair.wire.connections == 1


async def test_stream_with_messages_one_way_stays() -> None:
    """A server that only listens resets no count of the pings it got."""
    async with paired() as pair:

        async def requests() -> AsyncIterator[Request]:
            while pair.wire.pings["server"] < ENOUGH and not pair.wire.goaways:
                yield ask("echo")
                await asyncio.sleep(0.2)

        async with asyncio.timeout(30):
            await pair.streams.Collect(requests())

        assert pair.wire.goaways == []
        assert pair.wire.connections == 1


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mtls"])
async def test_encrypted_connection_stays(tmp_path: Path, mutual: bool) -> None:
    authority = Authority(tmp_path, "mesh")
    server_files, client_files = authority.issue("server"), authority.issue("client")
    server_tls = ServerTls(*server_files, authority.ca if mutual else None)
    certificate, key = client_files if mutual else (None, None)
    client_tls = ClientTls(authority.ca, certificate, key, server_name="node.test")
    async with paired(server_tls, client_tls) as pair:
        await pair.call()
        before = pair.wire.chunks
        async with asyncio.timeout(30):
            # Each side's pings, and the client's answers to those of the server.
            await pair.wire.until(lambda: pair.wire.chunks >= before + 2 * ENOUGH)
        await pair.call()

        assert pair.wire.connections == 1


async def test_client_of_another_library_may_ping_as_often_as_the_server_accepts() -> None:
    """One without the mesh's options: pings with and without calls, and a stream besides."""
    async with paired() as pair:
        options = [
            ("grpc.keepalive_time_ms", 1000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
        ]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{pair.wire.port}", options) as channel:
            held = StreamStub(channel).Count(ask("hold"))
            await pair.until_pinged("client")
            held.cancel()
            await Stub(channel).ExecuteCompute(ask("echo"))

        assert pair.wire.goaways == []
        assert pair.wire.connections == 1


def test_defaults_accept_what_other_libraries_may_send() -> None:
    """Go and Java allow their clients a ping every 10 s; early by a second is no reason to part."""
    keepalive = Keepalive()

    assert keepalive.accepts_every <= 10 - 1
    assert keepalive.accepts_every <= keepalive.every / 2


@pytest.mark.parametrize(
    ("every", "answer_within", "accepts_every", "field"),
    [
        (0.5, 10.0, 0.1, "every"),
        (20.0, 10.0, 11.0, "accepts_every"),
        (20.0, 10.0, 0.0, "accepts_every"),
        (20.0, 0.0, 5.0, "answer_within"),
        (float("nan"), 10.0, 5.0, "every"),
    ],
)
def test_keepalive_that_would_part_idle_nodes_is_refused(
    every: float, answer_within: float, accepts_every: float, field: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"keepalive {field} "):
        Keepalive(every, answer_within, accepts_every)
