"""The fence of a lease counts at the typed door of a reducer, too, for single calls and streams."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, TypeAlias

import pytest
from ledger.v1 import ledger_pb2
from ledger.v1.ledger_onex import LedgerClient

from onex.v1 import lease_pb2, lease_pb2_grpc, node_pb2, reducer_pb2, reducer_pb2_grpc
from onex_grpc.context import CallContext, LeaseClaim, enter_call
from onex_grpc.errors import LeaseExpiredError, LeaseValidationError, StaleFenceError
from onex_grpc.node import NodeOrchestrator
from onex_grpc.serve import Settings
from onex_grpc.testing.mesh import LocalMesh
from tests.mesh.typed.ledger_nodes import Ledger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Call: TypeAlias = "Callable[[LedgerClient], Awaitable[object]]"


class Conductor(NodeOrchestrator):
    """Gives leases."""

    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")


async def book(client: LedgerClient) -> object:
    return await client.book(ledger_pb2.BookRequest(account_id="a", amount=1))


async def book_all(client: LedgerClient) -> object:
    return await client.book_all([ledger_pb2.BookAllRequest(account_id="a", amount=1)])


async def acquire(mesh: LocalMesh, holder: str) -> lease_pb2.Lease:
    request = lease_pb2.AcquireLeaseRequest(
        workflow_id="w", holder=holder, request_id=str(uuid.uuid4())
    )
    request.ttl.FromSeconds(30)
    leases = mesh.stub(lease_pb2_grpc.LeaseServiceStub, "orchestrator")
    return (await leases.AcquireLease(request)).lease


async def release(mesh: LocalMesh, lease: lease_pb2.Lease) -> None:
    leases = mesh.stub(lease_pb2_grpc.LeaseServiceStub, "orchestrator")
    await leases.ReleaseLease(
        lease_pb2.ReleaseLeaseRequest(workflow_id="w", lease_id=lease.lease_id, fence=lease.fence)
    )


async def under(claim: LeaseClaim, call: Call, client: LedgerClient) -> None:
    async def leased() -> None:
        enter_call(CallContext(str(uuid.uuid4()), lease=claim, workflow_id="w"))
        await call(client)

    await asyncio.create_task(leased())


def claim_of(lease: lease_pb2.Lease) -> LeaseClaim:
    return LeaseClaim(lease.workflow_id, lease.lease_id, lease.fence, lease.token)


@pytest.mark.parametrize("call", [book, book_all])
async def test_who_has_lost_the_lease_books_no_more(call: Call) -> None:
    async with LocalMesh([Conductor, Ledger]) as mesh:
        client = LedgerClient(mesh.mesh)
        first = await acquire(mesh, "first")
        await under(claim_of(first), call, client)
        await release(mesh, first)
        second = await acquire(mesh, "second")
        await under(claim_of(second), call, client)

        with pytest.raises(StaleFenceError):
            await under(claim_of(first), call, client)
        forged = LeaseClaim("w", first.lease_id, second.fence, second.token)
        with pytest.raises(LeaseValidationError):
            await under(forged, call, client)

        generic = mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
        found = await generic.GetState(reducer_pb2.GetStateRequest(state_key="a"))
        assert found.version == 2


@pytest.mark.parametrize("call", [book, book_all])
async def test_lease_that_only_the_orchestrator_knows_to_be_over(call: Call) -> None:
    async with LocalMesh([Conductor, Ledger], settings=Settings(lease_check="online")) as mesh:
        client = LedgerClient(mesh.mesh)
        first = await acquire(mesh, "first")
        await under(claim_of(first), call, client)
        await release(mesh, first)
        with pytest.raises(LeaseExpiredError):
            await under(claim_of(first), call, client)
        second = await acquire(mesh, "second")
        with pytest.raises(StaleFenceError):
            await under(claim_of(first), call, client)
        await under(claim_of(second), call, client)
        generic = mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
        found = await generic.GetState(reducer_pb2.GetStateRequest(state_key="a"))
        assert found.version == 2
