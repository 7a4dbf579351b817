"""How a node judges the lease of a call: by its token, or by asking the orchestrator each time."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest

from onex.v1 import action_pb2, lease_pb2
from onex_grpc.errors import (
    LeaseExpiredError,
    LeaseValidationError,
    NodeUnavailableError,
    StaleFenceError,
)
from onex_grpc.rpc.client import Mesh
from onex_grpc.testing.process import NodeProcess
from tests.mesh.lease_scene import NODES, SETTINGS, Holder, action, free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BY_TOKEN = "compute/one"
ONLINE = "compute/two"


class Scene(NamedTuple):
    """Two programs that coordinate workflows, and the orchestrator."""

    a: Holder
    b: Holder
    orchestrator: NodeProcess


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    (tmp_path / "scene.py").write_text(NODES)
    ports = free_ports(3)
    (tmp_path / "onex.toml").write_text(SETTINGS.format(*ports))
    addresses = {
        name: f"127.0.0.1:{port}"
        for name, port in zip(("orchestrator", BY_TOKEN, ONLINE), ports, strict=True)
    }
    online = {"ONEX_LEASE_CHECK": "online"}
    async with AsyncExitStack() as stack:
        orchestrator = NodeProcess(
            "scene:Conductor", folder=tmp_path, port=ports[0], environment=online
        )
        for node in (
            orchestrator,
            NodeProcess("scene:Counting", folder=tmp_path, port=ports[1]),
            NodeProcess("scene:Second", folder=tmp_path, port=ports[2], environment=online),
        ):
            await stack.enter_async_context(node)
        meshes = Mesh(addresses), Mesh(addresses)
        for mesh in meshes:
            stack.push_async_callback(mesh.close)
        yield Scene(Holder(meshes[0], "holder-a"), Holder(meshes[1], "holder-b"), orchestrator)


async def steal(holder: Holder, workflow_id: str) -> lease_pb2.Lease:
    request = lease_pb2.StealLeaseRequest(
        workflow_id=workflow_id,
        holder=holder.name,
        request_id=str(uuid.uuid4()),
        reason="the holder hangs",
    )
    request.ttl.FromSeconds(30)
    return (await holder.leases.StealLease(request)).lease


async def release(holder: Holder, lease: lease_pb2.Lease) -> None:
    await holder.leases.ReleaseLease(
        lease_pb2.ReleaseLeaseRequest(
            workflow_id=lease.workflow_id, lease_id=lease.lease_id, fence=lease.fence
        )
    )


async def test_first_contact_after_a_steal_or_release(scene: Scene) -> None:
    """No node has met a newer holder: only the orchestrator knows."""
    a, b = scene.a, scene.b
    old = await a.acquire("w", ttl=30.0)
    await a.call(ONLINE, old)
    new = await steal(b, "w")
    with pytest.raises(StaleFenceError) as refused:
        await a.call(ONLINE, old)
    assert refused.value.node == "orchestrator/main"
    await a.call(BY_TOKEN, old)
    await b.call(ONLINE, new)

    await release(b, new)
    with pytest.raises(LeaseExpiredError):
        await b.call(ONLINE, new)
    await b.call(BY_TOKEN, new)


async def test_workflows_and_calls_of_the_present_holder_go_on(scene: Scene) -> None:
    lease = await scene.a.acquire("w", ttl=30.0)
    await scene.a.send(action(lease, action_pb2.ACTION_TYPE_START_WORKFLOW, epoch=0))
    delegated = action(lease, action_pb2.ACTION_TYPE_DELEGATE_TASK)
    delegated.action.target_node = ONLINE
    assert (await scene.a.send(delegated)).epoch == 2

    forged = lease_pb2.Lease()
    forged.CopyFrom(lease)
    forged.lease_id = str(uuid.uuid4())
    with pytest.raises(LeaseValidationError):
        await scene.a.call(ONLINE, forged)


async def test_who_cannot_be_asked_has_not_agreed(scene: Scene) -> None:
    lease = await scene.a.acquire("w", ttl=30.0)
    for node in (BY_TOKEN, ONLINE):
        await scene.a.call(node, lease)
    await scene.orchestrator.kill()
    with pytest.raises(NodeUnavailableError, match="lease_check = online") as refused:
        await scene.a.call(ONLINE, lease)
    assert refused.value.retry_after
    await scene.a.call(BY_TOKEN, lease)
    await scene.a.call_unleased(ONLINE)
    await scene.orchestrator.start()
    async with asyncio.timeout(10):
        while True:
            # The channel that broke may take a moment to connect anew.
            with contextlib.suppress(NodeUnavailableError):
                await scene.a.call(ONLINE, lease)
                break
