"""The load of the workflow benchmarks: three steps that compute, or three that change a state."""

from __future__ import annotations

import itertools
import json
import uuid
from typing import TYPE_CHECKING, Final

from bench.nodes import NODES
from onex.v1 import compute_pb2, orchestrator_pb2, orchestrator_pb2_grpc, reducer_pb2
from onex_grpc.contract import data
from servers.supervisor import free_ports

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

Step = orchestrator_pb2.WorkflowStep

_RUN: Final = uuid.uuid4().hex[:8]
_numbers = itertools.count()


def seq3_pure(_: str) -> list[Step]:
    """Return three COMPUTE steps."""
    echo = compute_pb2.AlgorithmConfig(algorithm_type="echo")
    contract = compute_pb2.ModelContractCompute(algorithm_config=echo, input_data=data.pack(1))
    return [Step(step_id=f"s{n}", target_node="compute", compute=contract) for n in range(3)]


def seq3_durable(workflow_id: str) -> list[Step]:
    """Return three REDUCER steps on a state of the workflow's own."""
    contract = reducer_pb2.ModelContractReducer(
        reduction_config=reducer_pb2.ReductionConfig(state_key=workflow_id),
        input_data=reducer_pb2.ReducerInput(action="COUNT"),
    )
    return [Step(step_id=f"s{n}", target_node="reducer", reducer=contract) for n in range(3)]


WORKFLOWS: Final = {"seq3_pure": seq3_pure, "seq3_durable": seq3_durable}


def run_workflow(
    stub: orchestrator_pb2_grpc.OrchestratorNodeServiceStub,
    steps: Callable[[str], list[Step]],
) -> Callable[[], Awaitable[object]]:
    """Return a call that starts a workflow under a new id and waits for its end."""

    async def call() -> object:
        return await stub.ExecuteOrchestration(_workflow(steps), timeout=60)

    return call


def _workflow(steps: Callable[[str], list[Step]]) -> orchestrator_pb2.ModelContractOrchestrator:
    workflow_id = f"bench-{_RUN}-{next(_numbers)}"
    return orchestrator_pb2.ModelContractOrchestrator(
        workflow_id=workflow_id,
        workflow_config=orchestrator_pb2.WorkflowConfig(
            coordination_type=orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL,
            steps=steps(workflow_id),
        ),
    )


def plan_nodes(folder: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Write the settings of the four nodes into a folder.

    Returns:
        Addresses by kind, and by kind the module and arguments that serve there.
    """
    ports = dict(zip(NODES, free_ports(len(NODES)), strict=True))
    addresses = {kind: f"127.0.0.1:{port}" for kind, port in ports.items()}
    config = folder / "onex.toml"
    lines = [f"state = {json.dumps(str(folder))}", 'queues = ["reducer"]', 'log_level = "error"']
    lines.append("[addresses]")
    lines += [f"{kind} = {json.dumps(address)}" for kind, address in addresses.items()]
    config.write_text("\n".join(lines), encoding="utf-8")
    commands = {
        kind: ["bench.nodes", kind, "--config", str(config), "--port", str(port), "--with-parent"]
        for kind, port in ports.items()
    }
    return addresses, commands
