"""Leases and actions over real gRPC: one orchestrator and two compute nodes as processes."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest

from onex.v1 import action_pb2, lease_pb2
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
from tests.mesh.lease_scene import NODES, SETTINGS, Holder, action, free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


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
    await a.send(action(lease, START, epoch=0))
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
