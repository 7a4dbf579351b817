"""A node whose store turns out to be damaged after a crash says so, and takes no more calls."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from onex.v1 import node_pb2, node_pb2_grpc, reducer_pb2, reducer_pb2_grpc
from onex_grpc.errors import StoreError
from onex_grpc.rpc import Mesh
from onex_grpc.serve.health_client import list_health
from onex_grpc.store import IdempotencyRecord, open_store
from onex_grpc.testing.process import NodeProcess

NODES = """
from onex.v1 import node_pb2
from onex_grpc.node import NodeReducer
from onex_grpc.reducer.model import Reduction
from orders.v1 import orders_pb2


class Reducer(NodeReducer[orders_pb2.Order]):
    descriptor = node_pb2.NodeDescriptor(name="kept", version="1.0.0")
    state_type = orders_pb2.Order

    def transition(self, state, action):
        return Reduction(state)
"""


async def left_damaged(path: Path) -> None:
    store = await open_store(path)
    for number in range(200):
        await store.record_outcome(str(number), IdempotencyRecord(b"", bytes(2000)))
    await store.close()
    damage(path)


def damage(path: Path) -> None:
    """Overwrites pages of a store that looks as if its process had been killed."""
    Path(f"{path}-wal").write_bytes(bytes(4096))
    with path.open("rb+") as file:
        file.seek(30 * 4096)
        file.write(b"\xff" * 8192)


async def unhealthy(mesh: Mesh) -> None:
    """Returns when the node says that it is."""
    about = mesh.stub(node_pb2_grpc.NodeServiceStub, "reducer")
    async with asyncio.timeout(20):
        while True:
            answer = await about.GetNodeHealth(node_pb2.GetNodeHealthRequest())
            if answer.health.status == node_pb2.HEALTH_STATUS_UNHEALTHY:
                return
            await asyncio.sleep(0.02)


async def test_damage_ends_the_serving_and_is_told(tmp_path: Path) -> None:
    (tmp_path / "kept.py").write_text(NODES)
    await left_damaged(tmp_path / ".onex" / "reducer-kept.db")
    # The second process finds it again, although the first has closed the store.
    for starts in (1, 2):
        async with (
            NodeProcess("kept:Reducer", folder=tmp_path) as process,
            Mesh({"reducer": process.address}) as mesh,
        ):
            await unhealthy(mesh)
            statuses = await list_health(process.address, None, 5.0)
            assert "SERVING" not in statuses.values()
            reducer = mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
            with pytest.raises(StoreError, match=r"takes no calls.*damaged.*onex restore"):
                await reducer.GetState(reducer_pb2.GetStateRequest(state_key="k"))
            assert await process.stop() == 0
        log = process.log.read_text()
        assert log.count("CRITICAL") == starts
        assert "onex restore" in log
