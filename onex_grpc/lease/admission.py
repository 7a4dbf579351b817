"""Checks of a call's lease before its handler runs."""

from __future__ import annotations

import hmac
import time
from typing import TYPE_CHECKING

from onex_grpc.errors import LeaseExpiredError, LeaseRequiredError, LeaseValidationError
from onex_grpc.lease.fences import FenceMemory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from onex_grpc.context import CallContext, LeaseClaim
    from onex_grpc.lease.token import LeaseClaims
    from onex_grpc.lease.verifier import TokenVerifier
    from onex_grpc.rpc.calls import Admit, Method


def match_claims(claims: LeaseClaims, *, workflow_id: str, lease_id: str, fence: int) -> None:
    """Raises LeaseValidationError where a token is that of another lease."""
    if claims.workflow_id != workflow_id or claims.fence != fence:
        raise LeaseValidationError(
            f"the lease token is that of workflow {claims.workflow_id}, fence {claims.fence};"
            f" the call states workflow {workflow_id}, fence {fence}"
        )
    if not hmac.compare_digest(claims.lease_id, lease_id):
        raise LeaseValidationError("the lease token is that of another lease id")


class LeaseAdmission:
    """Admits unleased calls, and leased ones whose token is genuine, current and not outdated.

    Order: signature, token = headers, fence, expiry. It answers without waiting except where the
    token's key has to be asked for.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        *,
        leeway: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._verifier = verifier
        self._leeway = leeway
        self._fences = FenceMemory()
        self._clock = clock

    def __call__(self, call: CallContext, method: Method) -> Awaitable[None] | None:
        """Checks the call's lease.

        Raises:
            LeaseValidationError: when the token is forged, altered or that of another lease.
            StaleFenceError: when this process has met a newer holder.
            LeaseExpiredError: when the token has expired.
        """
        if call.lease is None:
            return None
        claims = self._verifier.verify_now(call.lease.token)
        if claims is None:
            return self._admit_later(call.lease)
        self._judge(call.lease, claims)
        return None

    async def _admit_later(self, lease: LeaseClaim) -> None:
        self._judge(lease, await self._verifier.verify(lease.token))

    def _judge(self, lease: LeaseClaim, claims: LeaseClaims) -> None:
        match_claims(
            claims, workflow_id=lease.workflow_id, lease_id=lease.lease_id, fence=lease.fence
        )
        self._fences.observe(lease.workflow_id, lease.fence, lease.lease_id)
        late = self._clock() - claims.expires_at
        if late > self._leeway:
            raise LeaseExpiredError(
                f"the lease over workflow {lease.workflow_id} ended {late:.0f} s ago by the clock"
                " of this node; acquire a new one, or see that the hosts' clocks agree",
                context={"workflow_id": lease.workflow_id},
            )


_LEASED_SERVICES = frozenset(
    f"onex.v1.{kind}NodeService" for kind in ("Effect", "Compute", "Reducer")
)


def require_lease(call: CallContext, method: Method) -> None:
    """Admits calls of an effect, compute or reducer service only under a lease.

    Raises:
        LeaseRequiredError: when the call has none.
    """
    if call.lease is None and method.service in _LEASED_SERVICES:
        raise _unleased(method)


def require_lease_for(service: str) -> Admit:
    """As `require_lease`, for the service of a node's own contract."""

    def admit(call: CallContext, method: Method) -> None:
        if call.lease is None and method.service == service:
            raise _unleased(method)

    return admit


def _unleased(method: Method) -> LeaseRequiredError:
    return LeaseRequiredError(
        f"{method.name} needs a lease here; acquire one and send the onex-lease headers"
    )
