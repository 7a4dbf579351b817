"""The registry of several orchestrators over one PostgreSQL, and replicas that it knows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from onex.v1 import compute_pb2_grpc, reducer_pb2, reducer_pb2_grpc
from onex_grpc.contract import data
from onex_grpc.rpc.client import Mesh
from tests.mesh.registry.house import House, asked, served
from tests.store.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(90)
ORCHESTRATOR = 4


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the tests of this file."""
    server = PostgresServer()
    yield server
    server.stop()


async def test_a_killed_registry_is_replaced_by_the_other(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    lease = "[lease]\nttl = 1\nfloor = 0.1\n"
    async with House(tmp_path, postgres.address, lease) as house:
        first, second = await house.conductor(0), await house.conductor(1)
        here = await house.node("Worker", registries=house.registries[:1])
        both = await house.node("Worker", registries=house.registries)
        # Each of them knows all.
        for number in range(2):
            await house.until_at(here, both, number=number)
        mesh = Mesh(registry=house.registries)
        stub = mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute/worker")
        await stub.ExecuteCompute(asked("who"), timeout=10)
        await first.kill()
        # Who knows the second registers there; who does not is forgotten, after a while.
        nodes = await house.until(lambda nodes: served(nodes) == [both.address], 1)
        assert {n.address for n in nodes if n.node.node_type == ORCHESTRATOR} == {second.address}
        assert mesh.directory is not None
        async with asyncio.timeout(20):
            while served(mesh.directory.nodes) != [both.address]:
                await mesh.directory.wait_change()
        answer = await stub.ExecuteCompute(asked("who"), timeout=10)
        assert data.unpack(answer.processed_data) == both.pid
        # And when it is back, both know both again.
        await house.conductor(0)
        await house.until_at(here, both, number=1)
        await mesh.close()


async def test_replicas_that_share_a_store_are_all_registered(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with House(tmp_path, postgres.address) as house:
        await house.conductor()
        ledger = ("--name", house.name)
        first = await house.node("Ledger", *ledger)
        second = await house.node("Ledger", *ledger)
        nodes = await house.until_at(first, second)
        replicas = [node for node in nodes if node.store_id and node.node.node_type != ORCHESTRATOR]
        assert len({node.store_id for node in replicas}) == 1
        assert len({node.instance for node in replicas}) == 2
        states = house.mesh().stub(reducer_pb2_grpc.ReducerNodeServiceStub, f"reducer/{house.name}")
        key = reducer_pb2.GetStateRequest(state_key="k")
        assert (await states.GetState(key, timeout=10)).version == 0
        # One on a store of its own is none of them.
        (tmp_path / "apart.toml").write_text("")
        other = await house.node("Ledger", *ledger, "--config", "apart.toml")
        async with asyncio.timeout(20):
            assert await other.wait() == 2
        await house.until_at(first, second)


async def test_who_knew_a_killed_registry_only_is_displaced_after_a_while(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    # Longer than a process takes to start: the second must come while the first is expected back.
    lease = "[lease]\nttl = 4\nfloor = 0.1\n"
    async with House(tmp_path, postgres.address, lease) as house:
        first, second = await house.conductor(0), await house.conductor(1)
        (tmp_path / "apart.toml").write_text("")
        apart = ("--config", "apart.toml")
        ledger = await house.node("Ledger", *apart, registries=house.registries[:1])
        await house.until_at(ledger, number=1)
        await first.kill()
        # It serves on, while it is open whether the other one comes back.
        other = await house.node(
            "Ledger", *apart, "--state", "elsewhere", registries=house.registries[1:]
        )
        await house.until_at(other, number=1)
        log = other.log.read_text()
        assert "is not known yet" in log
        assert log.count(f"not registered at the registry at {second.address}") == 1
