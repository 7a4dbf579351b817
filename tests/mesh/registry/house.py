"""The processes of a mesh whose nodes find each other by the registry."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from onex.v1 import compute_pb2, orchestrator_pb2, registry_pb2, registry_pb2_grpc
from onex_grpc.contract import data
from onex_grpc.rpc.client import Mesh
from onex_grpc.testing.process import NodeProcess
from servers.supervisor import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from onex_grpc.rpc.tls import ClientTls

    Nodes = Sequence[registry_pb2.RegisteredNode]

NODES = '''
import asyncio
import os
from pathlib import Path

from onex.v1 import node_pb2
from onex_grpc.node import NodeCompute, NodeOrchestrator, NodeReducer
from onex_grpc.reducer.model import Reduction
from orders.v1 import orders_pb2


class Conductor(NodeOrchestrator):
    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")


class Worker(NodeCompute):
    """Says which process it is, at once or when there is a file that says so."""

    descriptor = node_pb2.NodeDescriptor(name="worker", version="1.2.0")

    def register_algorithms(self, registry):
        registry.register("who", who)
        registry.register("wait", wait)


class Ledger(NodeReducer[orders_pb2.Order]):
    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")
    state_type = orders_pb2.Order

    def transition(self, state, action):
        state.status += 1
        return Reduction(state)


def who(data):
    return os.getpid()


async def wait(data):
    print("waiting", flush=True)
    while not Path("finish").exists():
        await asyncio.sleep(0.01)
    return os.getpid()
'''
_numbers = itertools.count(1)


class House:
    """Processes in one folder, none of which has an address of another.

    Attributes:
        folder: their working folder.
        registries: where the first and the second orchestrator are.
        name: of the orchestrator, which no other test has.
    """

    def __init__(
        self, folder: Path, store: str = "", settings: str = "", tls: ClientTls | None = None
    ) -> None:
        self.folder = folder
        self.name = f"test-{next(_numbers)}"
        self.ports = free_ports(2)
        self.registries = [f"127.0.0.1:{port}" for port in self.ports]
        self._tls = tls
        self._stack = AsyncExitStack()
        (folder / "house.py").write_text(NODES)
        (folder / "onex.toml").write_text(f"drain_grace = 0.5\nstore = '{store}'\n{settings}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        (self.folder / "finish").touch()
        await self._stack.aclose()

    async def conductor(self, number: int = 0) -> NodeProcess:
        """Starts the first or the second orchestrator."""
        options = ("--name", self.name)
        process = NodeProcess(
            "house:Conductor", folder=self.folder, options=options, port=self.ports[number]
        )
        return await self._stack.enter_async_context(process)

    async def node(self, place: str, *options: str, registries: Sequence[str] = ()) -> NodeProcess:
        """Starts a node that registers."""
        at = ",".join(registries or self.registries[:1])
        process = NodeProcess(
            f"house:{place}",
            folder=self.folder,
            options=options,
            environment={"ONEX_REGISTRY": at},
        )
        return await self._stack.enter_async_context(process)

    def mesh(self, number: int = 0) -> Mesh:
        """A program that knows a registry and nothing else."""
        mesh = Mesh(registry=self.registries[number], tls=self._tls)
        self._stack.push_async_callback(mesh.close)
        return mesh

    async def until(self, wanted: Callable[[Nodes], bool], number: int = 0) -> Nodes:
        """The first picture of a registry that is as wanted."""
        at = {"orchestrator": self.registries[number]}
        async with asyncio.timeout(20), Mesh(at, tls=self._tls) as mesh:
            stub = mesh.stub(registry_pb2_grpc.RegistryServiceStub, "orchestrator")
            request = registry_pb2.WatchNodesRequest()
            async for picture in stub.WatchNodes(request, wait_for_ready=True):
                if wanted(picture.nodes):
                    return picture.nodes
        raise AssertionError("the stream ended")

    async def until_at(self, *processes: NodeProcess, number: int = 0) -> Nodes:
        """The first picture in which these serve the nodes besides orchestrators, and no others."""
        addresses = sorted(process.address for process in processes)
        return await self.until(lambda nodes: sorted(served(nodes)) == addresses, number)


def served(nodes: Nodes) -> Sequence[str]:
    """The addresses of the nodes besides orchestrators."""
    return [node.address for node in nodes if node.node.node_type != 4]


def asked(algorithm: str) -> compute_pb2.ModelContractCompute:
    """What a worker is asked."""
    contract = compute_pb2.ModelContractCompute()
    contract.algorithm_config.algorithm_type = algorithm
    contract.input_data.CopyFrom(data.pack([1]))
    return contract


def workflow(algorithm: str) -> orchestrator_pb2.ModelContractOrchestrator:
    """A workflow that asks a worker."""
    contract = orchestrator_pb2.ModelContractOrchestrator(
        correlation_id=str(uuid.uuid4()), workflow_id="w"
    )
    config = contract.workflow_config
    config.coordination_type = orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
    config.steps.add(step_id="s", target_node="compute/worker", compute=asked(algorithm))
    return contract
