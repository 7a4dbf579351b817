"""The checks that an action passes before it is executed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from onex.v1 import action_pb2
from onex_grpc.action.state import unknown_workflow
from onex_grpc.errors import ActionExpiredError, EpochMismatchError, LeaseExpiredError
from onex_grpc.lease.admission import match_claims
from onex_grpc.store.model import Guard, LeaseGrant

if TYPE_CHECKING:
    from onex.v1 import orchestrator_pb2
    from onex_grpc.lease.verifier import TokenVerifier
    from onex_grpc.store.protocol import LeaseStore

_EXACT: Final = (
    action_pb2.ACTION_TYPE_START_WORKFLOW,
    action_pb2.ACTION_TYPE_UPDATE_STATE,
    action_pb2.ACTION_TYPE_CHECKPOINT_STATE,
    action_pb2.ACTION_TYPE_ROLLBACK_STATE,
)


class ActionAdmission:
    """Checks, in this order: token, lease and fence, the token's expiry, expires_at, that the
    workflow was started, epoch.
    """

    def __init__(
        self,
        store: LeaseStore,
        verifier: TokenVerifier,
        *,
        leeway: float,
    ) -> None:
        self._store = store
        self._verifier = verifier
        self._leeway = leeway

    async def admit(self, request: orchestrator_pb2.ExecuteActionRequest) -> LeaseGrant:
        """The lease under which an action may be executed.

        Raises:
            LeaseValidationError: when the token is forged, altered or that of another lease.
            StaleFenceError: when the workflow has a newer holder.
            LeaseExpiredError: when the lease or its token has expired.
            ActionExpiredError: after the action's expires_at, by this process's clock.
            WorkflowNotFoundError: when the workflow was never started, and this does not start it.
            EpochMismatchError: when the workflow's state has another epoch than the action states.
        """
        grant = await self.admit_lease(request)
        self._check_expiry(request.action)
        starts = request.action.action_type == action_pb2.ACTION_TYPE_START_WORKFLOW
        if not grant.epoch and not starts:
            raise unknown_workflow(request.workflow_id)
        check_epoch(request.action, grant.epoch)
        return grant

    async def admit_lease(self, request: orchestrator_pb2.ExecuteActionRequest) -> LeaseGrant:
        """The lease under which an action is sent; raises as `admit` does for a lease."""
        action = request.action
        claims = await self._verifier.verify(request.lease_token)
        match_claims(
            claims,
            workflow_id=request.workflow_id,
            lease_id=action.lease_id,
            fence=request.fence,
        )
        guard = Guard(request.workflow_id, action.lease_id, request.fence)
        # The row tells a takeover from an expiry, which the token cannot.
        grant = await self._store.verify_lease(guard)
        if time.time() > claims.expires_at + self._leeway:
            raise LeaseExpiredError(
                "the lease token has expired; send the one that the last renewal returned",
                context={"workflow_id": request.workflow_id},
            )
        return grant

    def _check_expiry(self, action: action_pb2.ModelAction) -> None:
        if not action.HasField("expires_at"):
            return
        expires_at = action.expires_at.ToNanoseconds() / 1e9
        if time.time() >= expires_at:
            raise ActionExpiredError(
                f"action {action.action_id} expired before it was begun; issue a new one",
                context={"action_id": action.action_id},
            )


def check_epoch(action: action_pb2.ModelAction, current: int) -> None:
    """Raises EpochMismatchError where an action must, or chooses to, name the epoch and is wrong.

    Types that need an epoch have one: the contract's check has seen to it.
    """
    if not action.HasField("epoch") and action.action_type not in _EXACT:
        return
    if action.epoch != current:
        raise EpochMismatchError(
            f"the workflow's epoch is {current}, action {action.action_id} expects {action.epoch};"
            " read the state and issue a new action",
            context={"current": str(current), "expected": str(action.epoch)},
        )
