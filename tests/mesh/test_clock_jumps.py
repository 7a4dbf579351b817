"""The clock of a machine jumps by an hour in the middle of a workflow: it ends as if it had not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from onex.v1 import orchestrator_pb2, orchestrator_pb2_grpc
from onex_grpc.contract import data
from onex_grpc.errors import DeadlineExceededError, LeaseExpiredError
from onex_grpc.rpc.client import Mesh
from onex_grpc.testing.process import NodeProcess
from tests.mesh.lease_scene import free_ports
from tests.store.jumping_clock import HOUR, JumpingClock, jumping_clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

NODES = """
import asyncio
from pathlib import Path

from onex.v1 import node_pb2
from onex_grpc.node import NodeCompute, NodeOrchestrator


class Conductor(NodeOrchestrator):
    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")


class Waiting(NodeCompute):
    descriptor = node_pb2.NodeDescriptor(name="one", version="1.0.0")

    def register_algorithms(self, registry):
        registry.register("wait", wait)


async def wait(data):
    print("waiting", flush=True)
    while not Path("go").exists():
        await asyncio.sleep(0.01)
    return "done"
"""
SETTINGS = """
state = "state"
[lease]
ttl = 2.0
floor = 0.5
leeway = 0.5
[addresses]
"orchestrator/main" = "127.0.0.1:{}"
"compute/one" = "127.0.0.1:{}"
"""


@pytest.fixture
def clock() -> Iterator[JumpingClock]:
    with jumping_clock() as clock:
        yield clock


def chain(*steps: str) -> orchestrator_pb2.ModelContractOrchestrator:
    contract = orchestrator_pb2.ModelContractOrchestrator(workflow_id="w")
    contract.workflow_config.coordination_type = orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
    for before, name in zip(("", *steps), steps, strict=False):
        step = contract.workflow_config.steps.add(step_id=name, target_node="compute/one")
        step.depends_on.extend([before] if before else [])
        step.compute.algorithm_config.algorithm_type = "wait"
        step.compute.input_data.CopyFrom(data.pack(name))
    return contract


Stub = orchestrator_pb2_grpc.OrchestratorNodeServiceStub


@asynccontextmanager
async def serve(
    folder: Path, orchestrator: dict[str, str], compute: dict[str, str]
) -> AsyncIterator[tuple[Stub, NodeProcess]]:
    """An orchestrator and a compute node, each with its environment."""
    (folder / "scene.py").write_text(NODES)
    ports = free_ports(2)
    (folder / "onex.toml").write_text(SETTINGS.format(*ports))
    async with (
        NodeProcess("scene:Conductor", folder=folder, port=ports[0], environment=orchestrator),
        NodeProcess("scene:Waiting", folder=folder, port=ports[1], environment=compute) as node,
        Mesh({"orchestrator": f"127.0.0.1:{ports[0]}"}) as mesh,
    ):
        yield mesh.stub(Stub, "orchestrator"), node


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
async def test_workflow_outlives_a_jump(tmp_path: Path, clock: JumpingClock, jump: int) -> None:
    there = clock.environment
    async with serve(tmp_path, there, there) as (orchestrator, node):
        running = asyncio.ensure_future(
            orchestrator.ExecuteOrchestration(chain("a", "b", "c"), timeout=30)
        )
        await node.output_line("waiting")
        clock.set(jump)
        (tmp_path / "go").touch()
        result = (await running).orchestration_result
    assert result.status == orchestrator_pb2.WORKFLOW_STATUS_COMPLETED
    assert [data.unpack(step.output) for step in result.step_results] == ["done"] * 3


async def test_hosts_whose_clocks_differ_are_told(tmp_path: Path, clock: JumpingClock) -> None:
    """To the other host, each new token is long over."""
    clock.set(-HOUR)
    async with serve(tmp_path, clock.environment, {}) as (orchestrator, _):
        # It is no failure of the workflow, which goes on when they agree.
        with pytest.raises(DeadlineExceededError, match="see that the hosts' clocks agree") as late:
            await orchestrator.ExecuteOrchestration(chain("a"), timeout=5)
        assert isinstance(late.value.causes[0], LeaseExpiredError)
