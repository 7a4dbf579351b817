"""Who may hold a lease and who may write under it: the decisions, free of any database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from onex_grpc.errors import (
    LeaseConflictError,
    LeaseExpiredError,
    LeaseValidationError,
    OnexError,
    StaleFenceError,
)
from onex_grpc.store.model import Guard, LeaseGrant, LeaseRequest

MAX_FENCE: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """What a store knows of the highest fence of a workflow.

    `expires_us` is None where another store issued the lease: then only the fence and the id are
    known. It is 0 once the
    lease was released.
    """

    workflow_id: str
    fence: int
    lease_id: str
    request_id: str
    holder: str
    ttl_us: int
    expires_us: int | None

    def is_live(self, now_us: int) -> bool:
        """Whether somebody holds this lease at that time."""
        return self.expires_us is not None and self.expires_us > now_us

    def grant(self, now_us: int, epoch: int) -> LeaseGrant:
        """The lease as it is handed out at that time."""
        return LeaseGrant(
            workflow_id=self.workflow_id,
            lease_id=self.lease_id,
            fence=self.fence,
            holder=self.holder,
            ttl_us=self.ttl_us,
            remaining_us=max(0, (self.expires_us or 0) - now_us),
            epoch=epoch,
        )


def is_stolen_before(row: LeaseRow | None, request: LeaseRequest, now_us: int) -> bool:
    """Whether the request already took the lease that runs (its reply was lost)."""
    return (
        row is not None
        and row.is_live(now_us)
        and (row.holder, row.request_id) == (request.holder, request.request_id)
    )


def is_repeat(row: LeaseRow | None, request: LeaseRequest, now_us: int) -> bool:
    """Whether the request asks again for the lease that it already got (its reply was lost).

    Raises:
        LeaseConflictError: when another request's lease stands in the way; `retry_after` is its
        time left.
    """
    if row is None or not row.is_live(now_us):
        return False
    same_holder = row.holder == request.holder
    if same_holder and row.request_id == request.request_id:
        return True
    if same_holder and request.take_over_own:
        return False
    if request.take_over_from and row.holder == request.take_over_from:
        return False
    remaining = ((row.expires_us or 0) - now_us) / 1e6
    raise LeaseConflictError(
        f"workflow_id {request.workflow_id}: {row.holder} holds the lease for another "
        f"{remaining:.3f} s; repeat after it ends",
        context={"workflow_id": request.workflow_id, "holder": row.holder},
        retry_after=remaining,
    )


def check_guard(row: LeaseRow | None, guard: Guard, now_us: int) -> bool:
    """Lets a write under this guard through, and says whether the guard is news that must be stored
    with the write.

    Raises:
        StaleFenceError: a newer lease is known.
        LeaseValidationError: the same fence with another lease id, or a fence that this store,
        which issues the
            workflow's leases, never issued.
        LeaseExpiredError: this store issued the lease and it has ended.
    """
    if row is None:
        if guard.fence > MAX_FENCE:
            raise _invalid(guard, "no lease has such a fence")
        return True
    if guard.fence > row.fence and row.expires_us is None and guard.fence <= MAX_FENCE:
        return True
    refusal = _refusal(row, guard, now_us)
    if refusal is not None:
        raise refusal
    return False


def check_current(row: LeaseRow | None, guard: Guard, now_us: int) -> LeaseRow:
    """The row, if the guard is that of the lease which this store issued last and which still runs.

    Raises:
        LeaseValidationError, StaleFenceError, LeaseExpiredError: as check_guard.
    """
    if row is None or row.expires_us is None:
        raise _invalid(guard, "this store never issued a lease over it")
    refusal = _refusal(row, guard, now_us)
    if refusal is not None:
        raise refusal
    return row


def check_release(row: LeaseRow | None, guard: Guard) -> bool:
    """Whether there is something to release: False where the lease has ended or was taken over.

    Raises:
        LeaseValidationError: the lease id or fence was never issued.
    """
    if row is None or row.expires_us is None or guard.fence > row.fence:
        raise _invalid(guard, "this store never issued that lease")
    if guard.fence < row.fence:
        return False
    if guard.lease_id != row.lease_id:
        raise _invalid(guard, "its fence belongs to another lease_id")
    return row.expires_us != 0


def _refusal(row: LeaseRow, guard: Guard, now_us: int) -> OnexError | None:
    if guard.fence < row.fence:
        return StaleFenceError(
            f"workflow_id {guard.workflow_id}: fence {guard.fence} is older than {row.fence}; "
            "a newer holder has taken over, stop working on the workflow",
            context={"workflow_id": guard.workflow_id, "known_fence": str(row.fence)},
        )
    if guard.fence > row.fence:
        return _invalid(guard, "this store never issued that fence")
    if guard.lease_id != row.lease_id:
        return _invalid(guard, "its fence belongs to another lease_id")
    if row.expires_us is not None and row.expires_us <= now_us:
        return LeaseExpiredError(
            f"workflow_id {guard.workflow_id}: the lease with fence {guard.fence} has ended; "
            "acquire a new one",
            context={"workflow_id": guard.workflow_id},
        )
    return None


def _invalid(guard: Guard, why: str) -> LeaseValidationError:
    return LeaseValidationError(
        f"workflow_id {guard.workflow_id}, fence {guard.fence}: {why}; acquire the lease and use "
        "what it returns",
        context={"workflow_id": guard.workflow_id},
    )
