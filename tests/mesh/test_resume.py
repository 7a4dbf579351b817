"""An orchestrator that is killed in the middle of a workflow, and its next process."""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from onex.v1 import orchestrator_pb2, orchestrator_pb2_grpc, reducer_pb2, reducer_pb2_grpc
from onex_grpc.contract import data
from onex_grpc.errors import NodeUnavailableError
from onex_grpc.rpc.client import Mesh
from onex_grpc.testing.process import NodeProcess
from orders.v1 import orders_pb2

if TYPE_CHECKING:
    from pathlib import Path

NODES = '''
import asyncio
import time
from pathlib import Path

from onex.v1 import node_pb2
from onex_grpc.node import NodeCompute, NodeOrchestrator, NodeReducer
from onex_grpc.reducer.model import Reduction
from orders.v1 import orders_pb2


class Conductor(NodeOrchestrator):
    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")


class Worker(NodeCompute):
    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")

    def register_algorithms(self, registry):
        registry.register("work", work)


class Ledger(NodeReducer[orders_pb2.Order]):
    """Counts the changes of an entity in the status of an order."""

    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")
    state_type = orders_pb2.Order

    def transition(self, state, action):
        state.status += 1
        return Reduction(state)


async def work(data):
    first = not Path("begun").exists()
    with Path("begun").open("a") as file:
        file.write(f"{time.time()}\\n")
    print("working", flush=True)
    if first:
        await asyncio.Event().wait()
    return "worked"
'''
SETTINGS = """
state = "state"
[addresses]
"orchestrator/main" = "127.0.0.1:{}"
"compute/main" = "127.0.0.1:{}"
"reducer/main" = "127.0.0.1:{}"
"""


def contract() -> orchestrator_pb2.ModelContractOrchestrator:
    """A change of state, work that takes long, another change."""
    asked = orchestrator_pb2.ModelContractOrchestrator(
        correlation_id=str(uuid.uuid4()), workflow_id="w", initial_state=data.pack({"key": "k"})
    )
    config = asked.workflow_config
    config.coordination_type = orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
    for step_id in ("before", "work", "after"):
        step = config.steps.add(step_id=step_id)
        if step_id == "work":
            step.target_node = "compute"
            step.compute.algorithm_config.algorithm_type = "work"
            step.compute.input_data.CopyFrom(data.pack([1]))
        else:
            step.target_node = "reducer"
            step.reducer.input_data.action = "CHANGE"
            step.bindings.add(field="reduction_config.state_key", expression="input.key")
    return asked


@pytest.mark.timeout(90)
async def test_a_killed_orchestrator_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "house.py").write_text(NODES)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    (tmp_path / "onex.toml").write_text(SETTINGS.format(*ports))
    addresses = {
        kind: f"127.0.0.1:{port}"
        for kind, port in zip(("orchestrator", "compute", "reducer"), ports, strict=True)
    }
    mesh = Mesh(addresses)
    stub = mesh.stub(orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator")
    states = mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
    asked = contract()
    async with (
        NodeProcess("house:Worker", folder=tmp_path, port=ports[1]) as worker,
        NodeProcess("house:Ledger", folder=tmp_path, port=ports[2]),
    ):
        first = NodeProcess("house:Conductor", folder=tmp_path, port=ports[0])
        await first.start()

        async def ask() -> orchestrator_pb2.ModelOrchestratorOutput:
            return await stub.ExecuteOrchestration(asked, timeout=30, wait_for_ready=True)

        waiting = asyncio.create_task(ask())
        await worker.output_line("working")
        await first.kill()
        with pytest.raises(NodeUnavailableError):
            await waiting

        # The lease of 30 s still runs: it is taken over at once, not waited for.
        async with NodeProcess("house:Conductor", folder=tmp_path, port=ports[0]):
            served_at = time.time()
            await worker.output_line("working")
            output = await ask()
            again = await ask()
        state = await states.GetState(reducer_pb2.GetStateRequest(state_key="k"))
    await mesh.close()

    resumed_at = float((tmp_path / "begun").read_text().split()[1])
    assert resumed_at - served_at < 0.6
    assert output == again
    assert output.correlation_id == asked.correlation_id
    results = output.orchestration_result.step_results
    assert [r.step_id for r in results] == ["before", "work", "after"]
    assert data.unpack(results[1].output) == "worked"
    # Each change happened once.
    assert data.unpack_as(state.state, orders_pb2.Order).status == 2
    assert state.version == 2
