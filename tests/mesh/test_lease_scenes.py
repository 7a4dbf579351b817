"""Leases and actions over real gRPC: one orchestrator and two compute nodes as processes.

The holders A and B are programs of their own; both know nothing but the contracts.
"""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest

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
from onex_grpc.errors import (
    ActionExpiredError,
    EpochMismatchError,
    LeaseConflictError,
    LeaseExpiredError,
    LeaseValidationError,
    StaleFenceError,
)
from onex_grpc.rpc.client import Mesh
from onex_grpc.testing.process import NodeProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

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
        stub = self._mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, node)

        async def leased() -> None:
            claim = LeaseClaim(lease.workflow_id, lease.lease_id, lease.fence, lease.token)
            enter_call(CallContext(str(uuid.uuid4()), lease=claim, workflow_id=lease.workflow_id))
            await stub.ExecuteCompute(count_contract(), timeout=10)

        await asyncio.create_task(leased())


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


async def until_refused(holder: Holder, node: str, lease: lease_pb2.Lease) -> None:
    """Calls a node until it refuses the lease."""
    async with asyncio.timeout(5):
        while True:
            await holder.call(node, lease)


class Scene(NamedTuple):
    """Two programs that want to coordinate the same workflows, and one of the nodes they call."""

    a: Holder
    b: Holder
    one: NodeProcess


START = action_pb2.ACTION_TYPE_START_WORKFLOW
UPDATE = action_pb2.ACTION_TYPE_UPDATE_STATE
DELEGATE = action_pb2.ACTION_TYPE_DELEGATE_TASK


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    (tmp_path / "scene.py").write_text(NODES)
    ports = free_ports(3)
    (tmp_path / "onex.toml").write_text(SETTINGS.format(*ports))
    addresses = {
        name: f"127.0.0.1:{port}"
        for name, port in zip(("orchestrator", "compute/one", "compute/two"), ports, strict=True)
    }
    async with AsyncExitStack() as stack:
        nodes = [
            NodeProcess("scene:Conductor", folder=tmp_path, port=ports[0]),
            NodeProcess("scene:Counting", folder=tmp_path, port=ports[1]),
            NodeProcess("scene:Second", folder=tmp_path, port=ports[2]),
        ]
        for node in nodes:
            await stack.enter_async_context(node)
        meshes = Mesh(addresses), Mesh(addresses)
        for mesh in meshes:
            stack.push_async_callback(mesh.close)
        yield Scene(Holder(meshes[0], "holder-a"), Holder(meshes[1], "holder-b"), nodes[1])


async def test_only_the_holder_acts(scene: Scene) -> None:
    a, b = scene.a, scene.b
    lease = await a.acquire("w", ttl=30.0)
    with pytest.raises(LeaseConflictError) as conflict:
        await b.acquire("w")
    assert conflict.value.retry_after is not None
    assert 0 < conflict.value.retry_after <= 30.0

    head, body, signature = lease.token.split(".")
    for token in (f"{head}.{body}.{signature[::-1]}", (await b.acquire("v")).token):
        forged = action(lease, START, epoch=0)
        forged.lease_token = token
        with pytest.raises(LeaseValidationError):
            await b.send(forged)
        stolen = lease_pb2.Lease()
        stolen.CopyFrom(lease)
        stolen.token = token
        with pytest.raises(LeaseValidationError):
            await b.call("compute/one", stolen)

    assert (await a.send(action(lease, START, epoch=0))).epoch == 1
    assert (await a.send(action(lease, DELEGATE))).epoch == 2
    with pytest.raises(EpochMismatchError):
        await a.send(action(lease, UPDATE, epoch=1))
    late = action(lease, DELEGATE)
    late.action.expires_at.FromNanoseconds(time.time_ns() - 1)
    with pytest.raises(ActionExpiredError):
        await a.send(late)


async def test_a_former_holder_is_refused_everywhere(scene: Scene, tmp_path: Path) -> None:
    a, b = scene.a, scene.b
    old = await a.acquire("w")
    await a.send(action(old, START, epoch=0))
    new = await b.take_over("w")
    assert new.epoch == 1
    assert new.fence > old.fence
    await b.call("compute/one", new)

    with pytest.raises(StaleFenceError):
        await a.send(action(old, DELEGATE))
    with pytest.raises(StaleFenceError):
        await a.call("compute/one", old)
    # A node that has not met the new holder refuses once the token has expired: up to a second
    # after the lease, since tokens count whole seconds.
    with pytest.raises(LeaseExpiredError):
        await until_refused(a, "compute/two", old)

    assert (await b.send(action(new, UPDATE, epoch=1))).epoch == 2


async def test_an_action_is_executed_once(scene: Scene, tmp_path: Path) -> None:
    a, b = scene.a, scene.b
    lease = await a.acquire("w")
    lost = action(lease, DELEGATE, seconds=0.2)
    # The reply is lost: the caller gives up before it comes.
    caller = asyncio.create_task(a.send(lost))
    counted = tmp_path / "counted"
    await scene.one.output_line("tallying")
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    together = await asyncio.gather(a.send(lost), a.send(lost))
    assert together[0] == together[1]

    new = await b.take_over("w")
    repeat = action(new, DELEGATE, action_id=lost.action.action_id, seconds=0.2)
    assert await b.send(repeat) == together[0]
    assert counted.read_text() == "x"
    assert data.unpack(together[0].result) == 1
