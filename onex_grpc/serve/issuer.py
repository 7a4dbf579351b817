"""The orchestrator by whose leases a node goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex.v1 import lease_pb2, lease_pb2_grpc

if TYPE_CHECKING:
    from onex_grpc.rpc.client import Mesh

ISSUER: Final = "orchestrator"
"""The kind of node that issues leases."""
_TIMEOUT: Final = 5.0


class LeaseIssuer:
    """What a node asks the orchestrator about leases, within 5 s or what its own call has left.

    Errors are those of the call: NodeUnavailableError, TargetNotFoundError where the mesh has more
    than one orchestrator, and those of LeaseService.
    """

    def __init__(self, mesh: Mesh) -> None:
        """Asks nothing yet."""
        self._mesh = mesh

    async def list_keys(self) -> lease_pb2.ListKeysResponse:
        """The keys that verify its tokens."""
        return await self._leases().ListKeys(lease_pb2.ListKeysRequest(), timeout=_TIMEOUT)

    async def verify_lease(
        self, request: lease_pb2.VerifyLeaseRequest
    ) -> lease_pb2.VerifyLeaseResponse:
        """Whether a lease is the current one."""
        return await self._leases().VerifyLease(request, timeout=_TIMEOUT)

    def _leases(self) -> lease_pb2_grpc.LeaseServiceStub:
        return self._mesh.stub(lease_pb2_grpc.LeaseServiceStub, ISSUER)
