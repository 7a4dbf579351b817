"""LeaseService over an orchestrator's store."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from google.protobuf.duration_pb2 import Duration

from onex.v1 import lease_pb2, lease_pb2_grpc
from onex_grpc.errors import ContractValidationError, Violation
from onex_grpc.lease.token import sign_token
from onex_grpc.store.model import Guard, LeaseGrant, LeaseRequest

if TYPE_CHECKING:
    from onex_grpc.lease.keys import SigningKey
    from onex_grpc.lease.settings import LeaseSettings
    from onex_grpc.store.protocol import LeaseStore


_log: Final = logging.getLogger(__name__)


class LeaseServicer(lease_pb2_grpc.LeaseServiceServicer):
    """Issues the leases of a store; errors are those of the store, with the class of the cause."""

    def __init__(self, store: LeaseStore, key: SigningKey, settings: LeaseSettings) -> None:
        self._store = store
        self._key = key
        self._settings = settings
        self._public = lease_pb2.ListKeysResponse(keys=[key.public()])

    async def AcquireLease(
        self, request: lease_pb2.AcquireLeaseRequest, context: object
    ) -> lease_pb2.AcquireLeaseResponse:
        """Raises LeaseConflictError while it is held, ContractValidationError for a short ttl."""
        grant = await self._store.acquire_lease(self._wish(request))
        return lease_pb2.AcquireLeaseResponse(lease=self._to_holder(grant))

    async def StealLease(
        self, request: lease_pb2.StealLeaseRequest, context: object
    ) -> lease_pb2.StealLeaseResponse:
        """Raises ContractValidationError for a short ttl."""
        grant = await self._store.steal_lease(self._wish(request))
        _log.warning(
            "the lease of workflow %s was stolen for %s (fence %d): %s",
            grant.workflow_id,
            grant.holder,
            grant.fence,
            request.reason,
        )
        return lease_pb2.StealLeaseResponse(lease=self._to_holder(grant))

    async def RenewLease(
        self, request: lease_pb2.RenewLeaseRequest, context: object
    ) -> lease_pb2.RenewLeaseResponse:
        """Raises LeaseExpiredError, StaleFenceError or LeaseValidationError."""
        grant = await self._store.renew_lease(_guard(request))
        return lease_pb2.RenewLeaseResponse(lease=self._to_holder(grant))

    async def ReleaseLease(
        self, request: lease_pb2.ReleaseLeaseRequest, context: object
    ) -> lease_pb2.ReleaseLeaseResponse:
        """Raises LeaseValidationError where the id is not that of the fence."""
        epoch = await self._store.release_lease(_guard(request))
        return lease_pb2.ReleaseLeaseResponse(epoch=epoch)

    async def VerifyLease(
        self, request: lease_pb2.VerifyLeaseRequest, context: object
    ) -> lease_pb2.VerifyLeaseResponse:
        """Raises as RenewLease."""
        grant = await self._store.verify_lease(_guard(request))
        return lease_pb2.VerifyLeaseResponse(
            epoch=grant.epoch, remaining=_duration(grant.remaining_us)
        )

    async def GetLease(
        self, request: lease_pb2.GetLeaseRequest, context: object
    ) -> lease_pb2.GetLeaseResponse:
        """Raises LeaseNotFoundError where nobody ever held it; id and token stay secret."""
        grant = await self._store.get_lease(request.workflow_id)
        return lease_pb2.GetLeaseResponse(lease=_public_lease(grant))

    async def ListKeys(
        self, request: lease_pb2.ListKeysRequest, context: object
    ) -> lease_pb2.ListKeysResponse:
        """The public half of the one key."""
        return self._public

    def _wish(
        self, request: lease_pb2.AcquireLeaseRequest | lease_pb2.StealLeaseRequest
    ) -> LeaseRequest:
        return LeaseRequest(
            workflow_id=request.workflow_id,
            holder=request.holder,
            ttl_us=self._ttl_us(request),
            request_id=request.request_id,
        )

    def _ttl_us(self, request: lease_pb2.AcquireLeaseRequest | lease_pb2.StealLeaseRequest) -> int:
        if not request.HasField("ttl"):
            return round(self._settings.ttl * 1e6)
        ttl_us = request.ttl.ToMicroseconds()
        if ttl_us < self._settings.floor * 1e6:
            raise ContractValidationError.of(
                Violation("ttl", f"is below {self._settings.floor} s; ask for at least that")
            )
        return ttl_us

    def _to_holder(self, grant: LeaseGrant) -> lease_pb2.Lease:
        lease = _public_lease(grant)
        lease.lease_id = grant.lease_id
        lease.token = sign_token(self._key, grant, time.time())
        return lease


def _guard(
    request: lease_pb2.RenewLeaseRequest
    | lease_pb2.ReleaseLeaseRequest
    | lease_pb2.VerifyLeaseRequest,
) -> Guard:
    return Guard(request.workflow_id, request.lease_id, request.fence)


def _public_lease(grant: LeaseGrant) -> lease_pb2.Lease:
    return lease_pb2.Lease(
        workflow_id=grant.workflow_id,
        fence=grant.fence,
        epoch=grant.epoch,
        holder=grant.holder,
        ttl=_duration(grant.ttl_us),
        remaining=_duration(grant.remaining_us),
    )


def _duration(microseconds: int) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(max(0, microseconds))
    return duration
