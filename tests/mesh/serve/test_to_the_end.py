"""History, audit trail and dead letters through the public door, read to their ends."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import psycopg
import pytest

from onex.v1 import (
    action_pb2,
    common_pb2,
    intent_pb2,
    intent_pb2_grpc,
    lease_pb2,
    lease_pb2_grpc,
    node_pb2,
    operation_pb2,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
    reducer_pb2,
    reducer_pb2_grpc,
)
from onex_grpc.contract import data
from onex_grpc.effect import FilesTarget
from onex_grpc.node import NodeEffect, NodeOrchestrator, NodeReducer
from onex_grpc.reducer import ReducerAction, Reduction
from onex_grpc.serve import Settings
from onex_grpc.testing.mesh import LocalMesh
from orders.v1 import orders_pb2
from tests.store.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

MANY = 40
DEAD = intent_pb2.INTENT_STATUS_DEAD


class Conductor(NodeOrchestrator):
    """Gives leases and keeps states."""

    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")


class Emitter(NodeReducer[orders_pb2.Order]):
    """Wishes, for each action, for something that its effect node must not do."""

    descriptor = node_pb2.NodeDescriptor(name="emitter", version="1.0.0")
    state_type = orders_pb2.Order

    def transition(
        self, state: orders_pb2.Order, action: ReducerAction
    ) -> Reduction[orders_pb2.Order]:
        file = operation_pb2.FileOperation(path="f", delete=operation_pb2.FileDelete())
        wish = intent_pb2.ModelIntent(
            intent_type=intent_pb2.INTENT_TYPE_FILE_OPERATION,
            target="shelf",
            payload=operation_pb2.EffectOperation(file=file),
            priority=intent_pb2.INTENT_PRIORITY_NORMAL,
            retry_policy=common_pb2.RetryPolicy(max_retries=0),
        )
        return Reduction(state, (wish,))


class Desk(NodeEffect):
    """Takes the intents."""

    descriptor = node_pb2.NodeDescriptor(name="desk", version="1.0.0")


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def mesh(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LocalMesh]:
    address = {"memory": "memory:", "sqlite": ""}.get(request.param)
    if address is None:
        server: PostgresServer = request.getfixturevalue("postgres")
        database = uuid.uuid4().hex
        with psycopg.connect(server.address, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"'.encode())
        address = server.address.replace("/postgres?", f"/{database}?")
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    settings = Settings(store=address, targets={"shelf": FilesTarget(root=str(shelf))})
    nodes = [Conductor, Emitter, Desk]
    async with LocalMesh(nodes, settings=settings, state=tmp_path) as running:
        yield running


class Entity:
    """One entity of the reducer, and what its history says."""

    def __init__(self, mesh: LocalMesh) -> None:
        self._reducer = mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")

    async def change(self) -> None:
        request = reducer_pb2.ModelContractReducer(
            action_id=str(uuid.uuid4()),
            reduction_config=reducer_pb2.ReductionConfig(state_key="k"),
            input_data=reducer_pb2.ReducerInput(action="GO", payload=data.pack(1)),
        )
        await self._reducer.ExecuteReduction(request)

    def versions(self) -> AsyncIterator[reducer_pb2.ListStateHistoryResponse]:
        request = reducer_pb2.ListStateHistoryRequest(state_key="k")
        return aiter(self._reducer.ListHistory(request))


async def test_history_of_an_entity_that_still_changes(mesh: LocalMesh) -> None:
    entity = Entity(mesh)
    for _ in range(MANY):
        await entity.change()
    stream = entity.versions()
    seen = [(await anext(stream)).entry.version]
    await entity.change()
    seen += [answer.entry.version async for answer in stream]
    assert seen == list(range(1, MANY + 2))


async def test_history_and_audit_trail_of_a_workflow(mesh: LocalMesh) -> None:
    leases = mesh.stub(lease_pb2_grpc.LeaseServiceStub, "orchestrator")
    orchestrator = mesh.stub(orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator")
    workflows = mesh.stub(orchestrator_pb2_grpc.WorkflowServiceStub, "orchestrator")
    lease = (
        await leases.AcquireLease(
            lease_pb2.AcquireLeaseRequest(workflow_id="w", holder="h", request_id=str(uuid.uuid4()))
        )
    ).lease
    ids = [str(uuid.uuid4()) for _ in range(MANY)]
    for epoch, action_id in enumerate(ids):
        request = orchestrator_pb2.ExecuteActionRequest(
            workflow_id="w", fence=lease.fence, lease_token=lease.token
        )
        request.action.action_id = action_id
        request.action.action_type = (
            action_pb2.ACTION_TYPE_UPDATE_STATE if epoch else action_pb2.ACTION_TYPE_START_WORKFLOW
        )
        request.action.lease_id = lease.lease_id
        request.action.correlation_id = str(uuid.uuid4())
        request.action.issued_at.GetCurrentTime()
        request.action.epoch = epoch
        request.action.target_node = "orchestrator"
        request.action.command_payload.state.CopyFrom(data.pack(epoch))
        await orchestrator.ExecuteAction(request)

    told = workflows.ListHistory(orchestrator_pb2.ListWorkflowHistoryRequest(workflow_id="w"))
    entries = [answer.entry async for answer in told]
    assert [entry.version for entry in entries] == list(range(1, MANY + 1))
    assert [entry.action_id for entry in entries] == ids
    trail = orchestrator_pb2.ListActionsRequest(workflow_id="w", page_size=7)
    found: list[str] = []
    while True:
        page = await workflows.ListActions(trail)
        found += [one.action_id for one in page.actions]
        if not (token := page.next_page_token):
            break
        trail.page_token = token
    assert found == ids


async def test_dead_letters_and_their_redrive(mesh: LocalMesh) -> None:
    queue = mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, "reducer")
    entity = Entity(mesh)
    for _ in range(MANY):
        await entity.change()

    async def dead(attempts: int) -> list[str]:
        """The ids of all dead letters, once each has been tried so often."""
        while True:
            listed = intent_pb2.ListIntentsRequest(status=DEAD, page_size=9)
            found: list[intent_pb2.QueuedIntent] = []
            while True:
                page = await queue.ListIntents(listed)
                found += page.intents
                if not (token := page.next_page_token):
                    break
                listed.page_token = token
            if len(found) == MANY and all(one.attempts == attempts for one in found):
                assert {one.last_error.reason for one in found} == {"OPERATION_REFUSED"}
                return [one.intent.intent_id for one in found]
            # The figures of a queue cannot be awaited.
            await asyncio.sleep(0.01)

    ids = await dead(1)
    assert len(set(ids)) == MANY
    redrive = intent_pb2.RedriveIntentsRequest(all=True)
    assert (await queue.RedriveIntents(redrive)).redriven == MANY
    assert sorted(await dead(1)) == sorted(ids)
    stats = await queue.GetQueueStats(intent_pb2.GetQueueStatsRequest())
    assert (stats.dead, stats.pending, stats.in_flight) == (MANY, 0, 0)
