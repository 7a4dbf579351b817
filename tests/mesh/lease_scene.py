"""An orchestrator and two compute nodes as processes, and programs that coordinate workflows there
by themselves: both know nothing but the contracts.
"""

from __future__ import annotations

import asyncio
import socket
import uuid
from typing import TYPE_CHECKING

from onex.v1 import (
    action_pb2,
    compute_pb2,
    compute_pb2_grpc,
    lease_pb2,
    lease_pb2_grpc,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
)
from onex_grpc.context import CallContext, LeaseClaim, enter_call
from onex_grpc.contract import data
from onex_grpc.errors import LeaseConflictError

if TYPE_CHECKING:
    from onex_grpc.rpc.client import Mesh

NODES = '''
import asyncio
from pathlib import Path

from onex.v1 import node_pb2
from onex_grpc.node import NodeCompute, NodeOrchestrator


class Conductor(NodeOrchestrator):
    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")


class Counting(NodeCompute):
    """Counts how often it was asked, in a file that all its processes share."""

    descriptor = node_pb2.NodeDescriptor(name="one", version="1.0.0")

    def register_algorithms(self, registry):
        registry.register("tally", tally)


class Second(Counting):
    descriptor = node_pb2.NodeDescriptor(name="two", version="1.0.0")


async def tally(data):
    print("tallying", flush=True)
    with Path("counted").open("a") as file:
        file.write("x")
    await asyncio.sleep(data.parameters.get("seconds", 0.0))
    return len(Path("counted").read_text())
'''
SETTINGS = """
state = "state"
[lease]
ttl = 2.0
floor = 0.5
leeway = 0.0
[addresses]
"orchestrator/main" = "127.0.0.1:{}"
"compute/one" = "127.0.0.1:{}"
"compute/two" = "127.0.0.1:{}"
"""
TTL = 1.0
CORRELATION = "5d2f8a52-7f0c-4b7e-9f0e-0a6d2c7b8e11"


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Holder:
    """A program outside of the mesh that coordinates workflows by itself."""

    def __init__(self, mesh: Mesh, name: str) -> None:
        self.name = name
        self.orchestrator = mesh.stub(
            orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator"
        )
        self.leases = mesh.stub(lease_pb2_grpc.LeaseServiceStub, "orchestrator")
        self._mesh = mesh

    async def acquire(self, workflow_id: str, ttl: float = TTL) -> lease_pb2.Lease:
        request = lease_pb2.AcquireLeaseRequest(
            workflow_id=workflow_id, holder=self.name, request_id=str(uuid.uuid4())
        )
        request.ttl.FromMilliseconds(round(ttl * 1000))
        return (await self.leases.AcquireLease(request)).lease

    async def take_over(self, workflow_id: str) -> lease_pb2.Lease:
        """Acquires as soon as the present lease has run out."""
        while True:
            try:
                return await self.acquire(workflow_id, ttl=30.0)
            except LeaseConflictError as conflict:
                await asyncio.sleep(conflict.retry_after or 0.0)

    async def send(
        self, request: orchestrator_pb2.ExecuteActionRequest
    ) -> orchestrator_pb2.ExecuteActionResponse:
        return await self.orchestrator.ExecuteAction(request, timeout=10)

    async def call(self, node: str, lease: lease_pb2.Lease) -> None:
        """Calls a node directly under a lease."""

        async def leased() -> None:
            claim = LeaseClaim(lease.workflow_id, lease.lease_id, lease.fence, lease.token)
            enter_call(CallContext(str(uuid.uuid4()), lease=claim, workflow_id=lease.workflow_id))
            await self.call_unleased(node)

        await asyncio.create_task(leased())

    async def call_unleased(self, node: str) -> None:
        """Calls a node as anybody does."""
        stub = self._mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, node)
        await stub.ExecuteCompute(count_contract(), timeout=10)


def count_contract(seconds: float = 0.0) -> compute_pb2.ModelContractCompute:
    contract = compute_pb2.ModelContractCompute()
    contract.algorithm_config.algorithm_type = "tally"
    contract.algorithm_config.parameters["seconds"] = seconds
    contract.input_data.CopyFrom(data.pack([1]))
    return contract


def action(
    lease: lease_pb2.Lease,
    action_type: action_pb2.ActionType.ValueType,
    epoch: int | None = None,
    action_id: str = "",
    seconds: float = 0.0,
) -> orchestrator_pb2.ExecuteActionRequest:
    request = orchestrator_pb2.ExecuteActionRequest(
        workflow_id=lease.workflow_id, fence=lease.fence, lease_token=lease.token
    )
    one = request.action
    one.action_id = action_id or str(uuid.uuid4())
    one.action_type = action_type
    one.lease_id = lease.lease_id
    one.correlation_id = CORRELATION
    one.issued_at.GetCurrentTime()
    if epoch is not None:
        one.epoch = epoch
    if action_type == action_pb2.ACTION_TYPE_DELEGATE_TASK:
        one.target_node = "compute/one"
        one.command_payload.compute.CopyFrom(count_contract(seconds))
    else:
        one.target_node = "orchestrator"
        one.command_payload.state.CopyFrom(data.pack("state"))
    return request
