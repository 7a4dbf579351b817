"""The registry under TLS and mutual TLS."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from onex.v1 import compute_pb2_grpc
from onex_grpc.contract import data
from onex_grpc.errors import ConfigurationError, NodeUnavailableError
from onex_grpc.rpc.client import Mesh
from onex_grpc.rpc.tls import ClientTls
from tests.mesh.authority import Authority
from tests.mesh.registry.house import House, asked, served

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(90)


class Secure(House):
    """Processes that talk by TLS."""

    def __init__(self, folder: Path, mode: str, server_name: str = "") -> None:
        authority = Authority(folder, "mesh")
        cert, key = authority.issue("node")
        settings = (
            f"[tls]\nmode = '{mode}'\ncert = '{cert}'\nkey = '{key}'\nca = '{authority.ca}'\n"
            f"server_name = '{server_name}'\n"
        )
        shown, secret = (cert, key) if mode == "mtls" else (None, None)
        super().__init__(folder, "", settings, ClientTls(authority.ca, shown, secret, server_name))


async def who(mesh: Mesh) -> object:
    """The process that answers."""
    stub = mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute/worker")
    answer = await stub.ExecuteCompute(asked("who"), timeout=10, wait_for_ready=True)
    return data.unpack(answer.processed_data)


@pytest.mark.parametrize("mode", ["tls", "mtls"])
async def test_processes_find_each_other(tmp_path: Path, mode: str) -> None:
    async with Secure(tmp_path, mode) as house:
        await house.conductor()
        worker = await house.node("Worker")
        await house.until_at(worker)
        assert await who(house.mesh()) == worker.pid
        command = [sys.executable, "-m", "onex_grpc.cli", "nodes"]
        command += ["--registry", house.registries[0], "--config", str(tmp_path / "onex.toml")]
        shown = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=30, check=False
        )
        assert worker.address in shown.stdout
        async with Mesh(registry=house.registries[0]) as stranger:
            stub = stranger.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute/worker")
            with pytest.raises(NodeUnavailableError):
                await stub.ExecuteCompute(asked("who"), timeout=10)


@pytest.mark.parametrize("server_name", ["node.test", ""])
async def test_several_processes_of_a_node_are_reached(tmp_path: Path, server_name: str) -> None:
    async with Secure(tmp_path, "tls", server_name) as house:
        await house.conductor()
        mesh = house.mesh()
        first, second = await house.node("Worker"), await house.node("Worker")
        await house.until_at(first, second)
        assert mesh.directory is not None
        await who(mesh)
        async with asyncio.timeout(20):
            while len(served(mesh.directory.nodes)) < 2:
                await mesh.directory.wait_change()
        seen = {await who(mesh) for _ in range(50)}
        # Without a name that they have in common, calls go to one of them.
        assert len(seen) == (2 if server_name else 1)
        left, stays = (first, second) if first.pid in seen else (second, first)
        await left.stop()
        await house.until_at(stays)
        async with asyncio.timeout(20):
            while len(served(mesh.directory.nodes)) > 1:
                await mesh.directory.wait_change()
        assert await who(mesh) == stays.pid


def test_several_endpoints_need_a_name(tmp_path: Path) -> None:
    tls = ClientTls(Authority(tmp_path, "mesh").ca)
    several = "127.0.0.1:1,127.0.0.1:2"
    with pytest.raises(ConfigurationError, match="server_name"):
        Mesh({"compute": several}, tls=tls)


async def test_several_registries_need_a_name(tmp_path: Path) -> None:
    tls = ClientTls(Authority(tmp_path, "mesh").ca)
    with pytest.raises(ConfigurationError, match="server_name"):
        Mesh(registry=["127.0.0.1:1", "127.0.0.1:2"], tls=tls)
