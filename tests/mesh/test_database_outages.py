"""The PostgreSQL of running nodes goes away and returns, or is not there at their start."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from onex.v1 import orchestrator_pb2, orchestrator_pb2_grpc
from onex_grpc.errors import DatabaseConnectionError, UnavailableError
from onex_grpc.testing.process import NodeProcess
from tests.mesh.replica_house import NODES, ask, contract, opened, result
from tests.store.server import PostgresServer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(90)


async def test_database_that_goes_away_and_returns(tmp_path: Path) -> None:
    server = PostgresServer()
    try:
        async with opened(tmp_path, server.address, ttl=2.0) as house:
            one = await house.conductor(0)
            client = house.orchestrator(one)
            first = asyncio.create_task(ask(client))
            await house.working()
            server.halt()
            asked = contract()
            asked.workflow_id = "another"
            with pytest.raises(DatabaseConnectionError):
                await client.ExecuteOrchestration(asked, timeout=20)
            house.finish()
            with pytest.raises(DatabaseConnectionError):
                await first
            server.start()
            back = time.monotonic()
            states = orchestrator_pb2_grpc.WorkflowServiceStub
            workflows = house.mesh(one).stub(states, "orchestrator")
            # Nobody asks for it any more; it goes on by itself.
            async with asyncio.timeout(30):
                await ended(workflows)
            assert time.monotonic() - back < 20
            assert result(await client.ExecuteOrchestration(contract(), timeout=20)) == "worked"
            assert result(await client.ExecuteOrchestration(asked, timeout=20)) == "worked"
    finally:
        server.stop()


async def ended(workflows: orchestrator_pb2_grpc.WorkflowServiceStub) -> None:
    """Returns when the workflow has ended; a database that is not back yet does not say so."""
    asked = orchestrator_pb2.GetWorkflowRequest(workflow_id="w")
    while True:
        try:
            found = await workflows.GetWorkflow(asked)
        except UnavailableError:
            await asyncio.sleep(0.05)
            continue
        if found.state.status == orchestrator_pb2.WORKFLOW_STATUS_COMPLETED:
            return
        await asyncio.sleep(0.05)


def _has(log: Path, text: str) -> bool:
    return log.exists() and text in log.read_text()


async def said(log: Path, text: str) -> None:
    """Returns when a process has logged this."""
    async with asyncio.timeout(20):
        while True:
            if _has(log, text):
                return
            await asyncio.sleep(0.02)


async def test_database_that_is_down_at_start_is_waited_for(tmp_path: Path) -> None:
    server = PostgresServer()
    try:
        async with opened(tmp_path, server.address) as house:
            server.halt()
            starting = asyncio.create_task(house.ledger())
            log = tmp_path / "house-Ledger.log"
            await said(log, "waiting up to")
            server.start()
            await asyncio.wait_for(starting, 20)
    finally:
        server.stop()


async def test_process_that_waits_for_its_database_can_be_stopped(tmp_path: Path) -> None:
    (tmp_path / "house.py").write_text(NODES)
    nowhere = f"postgresql://onex@/postgres?host={tmp_path}"
    process = NodeProcess("house:Ledger", folder=tmp_path, environment={"ONEX_STORE": nowhere})
    starting = asyncio.create_task(process.start())
    await said(process.log, "waiting up to")
    assert await asyncio.wait_for(process.stop(), 5) == 0
    await asyncio.gather(starting, return_exceptions=True)
