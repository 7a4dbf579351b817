"""Nodes that find each other by the registry of one orchestrator, as processes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from onex.v1 import (
    common_pb2,
    compute_pb2_grpc,
    orchestrator_pb2_grpc,
    reducer_pb2,
    reducer_pb2_grpc,
    registry_pb2,
    registry_pb2_grpc,
)
from onex_grpc.contract import data
from onex_grpc.errors import NodeUnavailableError, TargetNotFoundError
from onex_grpc.rpc.client import Mesh
from tests.mesh.registry.house import House, asked, served, workflow

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(90)
COMPUTE = compute_pb2_grpc.ComputeNodeServiceStub
ORCHESTRATOR = orchestrator_pb2_grpc.OrchestratorNodeServiceStub


async def who(mesh: Mesh, target: str = "compute/worker") -> object:
    """The process that answers."""
    stub = mesh.stub(COMPUTE, target)
    return data.unpack((await stub.ExecuteCompute(asked("who"), timeout=10)).processed_data)


async def test_nodes_are_found_and_gone(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.conductor()
        worker = await house.node("Worker")
        ledger = await house.node("Ledger")
        nodes = await house.until_at(worker, ledger)
        assert [(n.node.name, n.address, n.node.version) for n in nodes if n.instance] == [
            ("worker", worker.address, "1.2.0")
        ]
        assert "onex.v1.ComputeNodeService" in nodes[0].node.services
        mesh = house.mesh()
        assert await who(mesh) == worker.pid
        # The only node of a kind needs no name.
        assert await who(mesh, "compute") == worker.pid
        key = reducer_pb2.GetStateRequest(state_key="k")
        states = mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer/main")
        assert (await states.GetState(key, timeout=10)).version == 0
        with pytest.raises(TargetNotFoundError, match=house.registries[0]):
            await who(mesh, "compute/other")
        # A clean stop leaves before it refuses, a crash breaks the stream.
        assert await ledger.stop() == 0
        await house.until_at(worker)
        await worker.kill()
        await house.until_at()


async def test_calls_follow_processes_that_come_and_go(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.conductor()
        mesh = house.mesh()
        first = await house.node("Worker")
        second = await house.node("Worker")
        await house.until_at(first, second)
        async with asyncio.timeout(20):
            seen: set[object] = set()
            while seen != {first.pid, second.pid}:
                seen.add(await who(mesh))
        await first.kill()
        await house.until_at(second)
        async with asyncio.timeout(20):
            while mesh.directory is None or served(mesh.directory.nodes) != [second.address]:
                assert mesh.directory is not None
                await mesh.directory.wait_change()
        for _ in range(20):
            assert await who(mesh) == second.pid


async def test_a_call_in_flight_goes_on_when_others_come(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.conductor()
        worker = await house.node("Worker")
        await house.until_at(worker)
        mesh = house.mesh()
        stub = mesh.stub(COMPUTE, "compute/worker")
        waiting = asyncio.ensure_future(stub.ExecuteCompute(asked("wait"), timeout=60))
        await worker.output_line("waiting")
        other = await house.node("Worker")
        await house.until_at(worker, other)
        assert mesh.directory is not None
        async with asyncio.timeout(20):
            while len(served(mesh.directory.nodes)) < 2:
                await mesh.directory.wait_change()
        await who(mesh)
        (tmp_path / "finish").touch()
        assert data.unpack((await waiting).processed_data) == worker.pid


async def test_workflows_find_nodes_and_go_on_after_a_restart(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        conductor = await house.conductor()
        worker = await house.node("Worker")
        await house.until_at(worker)
        mesh = house.mesh()
        running = asyncio.ensure_future(
            mesh.stub(ORCHESTRATOR, "orchestrator").ExecuteOrchestration(workflow("wait"))
        )
        await worker.output_line("waiting")
        await conductor.kill()
        with pytest.raises(NodeUnavailableError):
            await running
        # It knows at once where the worker is, before that has registered anew.
        await house.conductor()
        await worker.output_line("waiting")
        (tmp_path / "finish").touch()
        await house.until_at(worker)
        stub = house.mesh().stub(ORCHESTRATOR, f"orchestrator/{house.name}")
        output = await stub.ExecuteOrchestration(workflow("wait"), timeout=30)
        (step,) = output.orchestration_result.step_results
        assert data.unpack(step.output) == worker.pid
        # The last picture was good enough meanwhile, and the worker is there still.
        assert await who(mesh) == worker.pid


async def test_a_second_store_of_a_node_is_refused(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.conductor()
        first = await house.node("Ledger")
        await house.until_at(first)
        second = await house.node("Ledger", "--state", "elsewhere")
        async with asyncio.timeout(20):
            assert await second.wait() == 2
        last = second.log.read_text().splitlines()[-1]
        assert last.startswith("error: reducer/main is registered")
        assert "share one PostgreSQL" in last
        await house.until_at(first)
        # It is free for another one when the first is gone.
        await first.stop()
        third = await house.node("Ledger", "--state", "elsewhere")
        await house.until_at(third)


async def test_a_node_serves_without_its_registry(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        worker = await house.node("Worker")
        async with Mesh({"compute": worker.address}) as known:
            assert await who(known, "compute") == worker.pid
        mesh = house.mesh()
        with pytest.raises(NodeUnavailableError, match=house.registries[0]):
            await who(mesh)
        await house.conductor()
        await house.until_at(worker)
        stub = mesh.stub(COMPUTE, "compute/worker")
        answer = await stub.ExecuteCompute(asked("who"), timeout=20, wait_for_ready=True)
        assert data.unpack(answer.processed_data) == worker.pid
        assert worker.log.read_text().count("not registered at") == 1


async def test_onex_nodes_lists_who_is_there(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.conductor()
        worker = await house.node("Worker")
        await house.until(lambda nodes: len(nodes) == 2)

        async def onex(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "onex_grpc.cli", "nodes", *arguments]
            return await asyncio.to_thread(
                subprocess.run, command, capture_output=True, text=True, timeout=30, check=False
            )

        table, listed, nobody = await asyncio.gather(
            onex("--registry", house.registries[0]),
            onex("--registry", house.registries[0], "--json"),
            onex("--registry", house.registries[1]),
        )
        head, first, second = table.stdout.splitlines()
        assert head.split() == ["NODE", "INSTANCE", "ADDRESS", "VERSION", "SINCE"]
        node, instance, address, version, since = first.split()
        assert (node, address, version) == ("compute/worker", worker.address, "1.2.0")
        assert second.split()[:3] == [f"orchestrator/{house.name}", "-", house.registries[0]]
        assert json.loads(listed.stdout)[0] == {
            "node": node,
            "instance": instance,
            "address": address,
            "version": version,
            "since": since,
        }
        assert (table.returncode, listed.returncode, nobody.returncode) == (0, 0, 2)
        assert nobody.stderr.startswith("error: orchestrator at")


async def test_a_picture_fits_into_a_message_whatever_nodes_say(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.conductor()
        worker = await house.node("Worker")
        mesh = house.mesh()
        stub = mesh.stub(registry_pb2_grpc.RegistryServiceStub, f"orchestrator/{house.name}")
        calls = []
        for number in range(70):
            talker = registry_pb2.RegisteredNode(address=f"10.0.0.7:{number + 1}")
            talker.node.name, talker.node.version = f"talker-{number}", "1.0.0"
            talker.node.node_type = common_pb2.NODE_TYPE_EFFECT
            talker.node.services.extend(["x" * 1000] * 60)
            calls.append(stub.RegisterNode())
            await calls[-1].write(registry_pb2.RegisterNodeRequest(node=talker))
            await calls[-1].read()
        nodes = await house.until(lambda nodes: len(nodes) == 72)
        listed = await stub.ListNodes(registry_pb2.ListNodesRequest())
        assert [*listed.nodes] == [*nodes]
        # Those that say most are cut, not the others.
        assert {n.node.name for n in nodes if n.node.services} == {"worker", house.name}
        assert await who(mesh) == worker.pid
        one = await stub.ListNodes(registry_pb2.ListNodesRequest(name="talker-9"))
        assert len(one.nodes[0].node.services) == 60
        for call in calls:
            call.cancel()


async def test_who_is_registered_takes_no_room_from_calls(tmp_path: Path) -> None:
    async with House(tmp_path, settings="[limits]\nconcurrent_calls = 2\n") as house:
        await house.conductor()
        async with asyncio.timeout(30), Mesh({"orchestrator": house.registries[0]}) as mesh:
            stub = mesh.stub(registry_pb2_grpc.RegistryServiceStub, "orchestrator")
            watching = stub.WatchNodes(registry_pb2.WatchNodesRequest())
            await watching.read()
            workers = [await house.node("Worker"), await house.node("Worker")]
            async for picture in watching:
                if len(picture.nodes) == 3:
                    break
            output = await mesh.stub(ORCHESTRATOR, "orchestrator").ExecuteOrchestration(
                workflow("who")
            )
        (step,) = output.orchestration_result.step_results
        assert data.unpack(step.output) in {worker.pid for worker in workers}
