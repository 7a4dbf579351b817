"""Processes of one node over one PostgreSQL, and a worker whose work ends when a test says so."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from onex.v1 import orchestrator_pb2, orchestrator_pb2_grpc
from onex_grpc.contract import data
from onex_grpc.rpc.client import Mesh
from onex_grpc.testing.process import NodeProcess
from servers.supervisor import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
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
    """Works until there is a file that says that it is finished."""

    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")

    def register_algorithms(self, registry):
        registry.register("work", work)
        registry.register("tell", tell)


class Ledger(NodeReducer[orders_pb2.Order]):
    """Counts the changes of an entity in the status of an order."""

    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")
    state_type = orders_pb2.Order

    def transition(self, state, action):
        state.status += 1
        return Reduction(state)


async def work(data):
    print("working", flush=True)
    with Path("calls").open("a") as calls:
        print("call", file=calls)
    while not Path("finish").exists():
        await asyncio.sleep(0.01)
    return "worked"


async def tell(data):
    """Tells each time something else."""
    await work(data)
    return str(time.monotonic_ns())
'''
SETTINGS = """
store = "{store}"
drain_grace = 0.2
[addresses]
"compute/main" = "127.0.0.1:{ports[0]}"
"orchestrator" = ["127.0.0.1:{ports[1]}", "127.0.0.1:{ports[2]}", "127.0.0.1:{ports[3]}"]
[lease]
ttl = {ttl}
floor = 0.1
"""
_numbers = itertools.count(1)


class House:
    """The processes of a test, in one folder.

    Attributes:
        worker: does the work that workflows wait for.
        name: of the orchestrator, and of the reducer: no other test has it.
    """

    def __init__(self, folder: Path, store: str, ttl: float) -> None:
        self.folder = folder
        self.name = f"test-{next(_numbers)}"
        self._stack = AsyncExitStack()
        self._ports = free_ports(4)
        (folder / "house.py").write_text(NODES)
        settings = SETTINGS.format(store=store, ports=self._ports, ttl=ttl)
        (folder / "onex.toml").write_text(settings)
        self.worker = NodeProcess("house:Worker", folder=folder, port=self._ports[0])

    async def open(self) -> None:
        await self._stack.enter_async_context(self.worker)

    async def close(self) -> None:
        self.finish()
        await self._stack.aclose()

    async def conductor(self, number: int, instance: str = "") -> NodeProcess:
        """Starts the first, second or third process of the orchestrator."""
        return await self._start("Conductor", instance, self._ports[1 + number])

    async def ledger(self) -> NodeProcess:
        """Starts one more process of the reducer."""
        return await self._start("Ledger", "", 0)

    async def _start(self, node: str, instance: str, port: int) -> NodeProcess:
        options = ("--name", self.name, *(("--instance", instance) if instance else ()))
        process = NodeProcess(f"house:{node}", folder=self.folder, options=options, port=port)
        return await self._stack.enter_async_context(process)

    def mesh(self, *processes: NodeProcess) -> Mesh:
        """A client of these processes, as of one node."""
        address = ",".join(process.address for process in processes)
        mesh = Mesh({processes[0].node.partition("/")[0]: address})
        self._stack.push_async_callback(mesh.close)
        return mesh

    def orchestrator(
        self, *processes: NodeProcess
    ) -> orchestrator_pb2_grpc.OrchestratorNodeServiceStub:
        """An outside client of these orchestrators."""
        stub = orchestrator_pb2_grpc.OrchestratorNodeServiceStub
        return self.mesh(*processes).stub(stub, "orchestrator")

    async def working(self) -> None:
        """Returns when a step has been begun that was not waited for before."""
        await asyncio.wait_for(self.worker.output_line("working"), 15)

    def calls(self) -> int:
        """How often work was begun."""
        return len((self.folder / "calls").read_text().splitlines())

    def finish(self) -> None:
        """Lets the work end."""
        (self.folder / "finish").touch()


@asynccontextmanager
async def opened(folder: Path, store: str, ttl: float = 30.0) -> AsyncIterator[House]:
    """A house whose lease lasts for `ttl` seconds."""
    house = House(folder, store, ttl)
    await house.open()
    try:
        yield house
    finally:
        await house.close()


def contract(
    algorithm: str = "work", workflow_id: str = "w"
) -> orchestrator_pb2.ModelContractOrchestrator:
    """A workflow of one step, which works until the house says that it is finished."""
    asked = orchestrator_pb2.ModelContractOrchestrator(
        correlation_id=str(uuid.uuid4()), workflow_id=workflow_id
    )
    config = asked.workflow_config
    config.coordination_type = orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
    step = config.steps.add(step_id="work", target_node="compute/main")
    step.compute.algorithm_config.algorithm_type = algorithm
    step.compute.input_data.CopyFrom(data.pack([1]))
    return asked


async def ask(
    client: orchestrator_pb2_grpc.OrchestratorNodeServiceStub, workflow_id: str = "w"
) -> orchestrator_pb2.ModelOrchestratorOutput:
    """What the workflow comes to."""
    return await client.ExecuteOrchestration(contract(workflow_id=workflow_id), timeout=60)


def result(output: orchestrator_pb2.ModelOrchestratorOutput) -> object:
    """What the step came to."""
    (step,) = output.orchestration_result.step_results
    return data.unpack(step.output)
