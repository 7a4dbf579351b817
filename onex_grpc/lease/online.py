"""The check of a lease at its issuer, for nodes that accept no former holder at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from onex.v1 import lease_pb2
from onex_grpc.context import CallContext, enter_call
from onex_grpc.errors import (
    LeaseExpiredError,
    LeaseValidationError,
    NodeUnavailableError,
    OnexError,
    StaleFenceError,
)

if TYPE_CHECKING:
    from onex_grpc.context import LeaseClaim
    from onex_grpc.rpc.calls import Method

VerifyLease = Callable[[lease_pb2.VerifyLeaseRequest], Awaitable[lease_pb2.VerifyLeaseResponse]]

_REFUSALS: Final = (LeaseExpiredError, StaleFenceError, LeaseValidationError)
# What a node says of itself is guarded by no lease, and is to be had without the orchestrator.
_UNGUARDED: Final = "onex.v1.NodeService"
_RETRY_SECONDS: Final = 0.2


class OnlineAdmission:
    """Admits unleased calls, and leased ones whose lease is the current one as the orchestrator
    knows it now.

    It comes after `LeaseAdmission`, which refuses most of what is wrong without asking anybody.
    Nothing is remembered: each call asks.
    """

    def __init__(self, verify_lease: VerifyLease) -> None:
        self._verify_lease = verify_lease

    def __call__(self, call: CallContext, method: Method) -> Awaitable[None] | None:
        """Has the call's lease verified, within the call's deadline.

        Raises:
            LeaseExpiredError: when the lease was released or has run out.
            StaleFenceError: when there is a newer holder.
            LeaseValidationError: when the orchestrator knows no such lease.
            NodeUnavailableError: when the orchestrator cannot tell.
        """
        if call.lease is None or method.service == _UNGUARDED:
            return None
        return self._admit(call, call.lease)

    async def _admit(self, call: CallContext, lease: LeaseClaim) -> None:
        # The lease in question must not travel along: the orchestrator would judge it first.
        enter_call(
            CallContext(
                call.correlation_id,
                deadline=call.deadline,
                traceparent=call.traceparent,
                workflow_id=call.workflow_id,
                tracestate=call.tracestate,
                baggage=call.baggage,
            )
        )
        try:
            answer = await self._verify_lease(
                lease_pb2.VerifyLeaseRequest(
                    workflow_id=lease.workflow_id, lease_id=lease.lease_id, fence=lease.fence
                )
            )
        except _REFUSALS:
            raise
        except OnexError as error:
            raise NodeUnavailableError(
                "the lease cannot be verified, as lease_check = online demands: the orchestrator"
                f" does not tell: {error.message}; try again",
                causes=(error,),
                retry_after=_RETRY_SECONDS,
            ) from error
        finally:
            enter_call(call)
        if answer.remaining.ToNanoseconds() <= 0:
            # Not to be told that a lease lasts is no leave to act under it.
            raise LeaseExpiredError(
                f"the lease over workflow {lease.workflow_id} does not last any more, as the"
                " orchestrator says; acquire a new one",
                context={"workflow_id": lease.workflow_id},
            )
