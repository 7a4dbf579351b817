"""Leases in PostgreSQL. Each function is one operation of a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from onex_grpc.errors import LeaseExpiredError, LeaseValidationError, StaleFenceError
from onex_grpc.store.keys import new_id, workflow_key
from onex_grpc.store.lease_rules import (
    LeaseRow,
    check_current,
    check_guard,
    check_release,
    is_repeat,
    is_stolen_before,
)
from onex_grpc.store.postgres.known import SELECT_LEASE, lease_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.model import Guard, LeaseGrant, LeaseRequest
    from onex_grpc.store.postgres.transaction import Transaction

SELECT_VERSION: Final = "SELECT version FROM state WHERE key = %s"
# A check without the lock would pass while a takeover that is not yet visible commits.
_LOCK_LEASE: Final = SELECT_LEASE + "WHERE workflow_id = %s FOR UPDATE"
_MAKE_ROOM: Final = (
    "INSERT INTO workflow (workflow_id, fence, lease_id) VALUES (%s, 0, '') "
    "ON CONFLICT (workflow_id) DO NOTHING"
)


def check_free(tx: Transaction, request: LeaseRequest) -> None:
    """Lets a request through that `acquire` grants.

    Raises:
        LeaseConflictError: another one's lease stands in the way.
    """
    row = _lock(tx, request.workflow_id)
    if row is not None:
        is_repeat(row, request, tx.now_us)


def acquire(tx: Transaction, request: LeaseRequest) -> LeaseGrant:
    """Grants a lease with a new fence, or the same one to a repeat of its request."""
    row = _lock(tx, request.workflow_id)
    if row is None or not is_repeat(row, request, tx.now_us):
        row = _issue(tx, row, request)
    return row.grant(tx.now_us, epoch(tx, request.workflow_id))


def steal(tx: Transaction, request: LeaseRequest) -> LeaseGrant:
    """Grants a lease with a new fence whoever holds the last one."""
    row = _lock(tx, request.workflow_id)
    if row is None or not is_stolen_before(row, request, tx.now_us):
        row = _issue(tx, row, request)
    return row.grant(tx.now_us, epoch(tx, request.workflow_id))


def renew(tx: Transaction, guard: Guard) -> LeaseGrant:
    """Prolongs a lease by its ttl."""
    row = check_current(_lock_known(tx, guard.workflow_id), guard, tx.now_us)
    renewed = replace(row, expires_us=tx.now_us + row.ttl_us)
    _put(tx, renewed)
    return renewed.grant(tx.now_us, epoch(tx, guard.workflow_id))


def renew_all(tx: Transaction, guards: Sequence[Guard]) -> Sequence[LeaseGrant | None]:
    """Prolongs leases; None for each that cannot be."""
    # Locked in one order by all processes, so that none waits for another in a circle.
    renewed = {guard: _renew_or_none(tx, guard) for guard in sorted(set(guards), key=_by_workflow)}
    return [renewed[guard] for guard in guards]


def release(tx: Transaction, guard: Guard) -> int:
    """Ends a lease; returns the epoch."""
    if check_release(_lock_known(tx, guard.workflow_id), guard):
        end(tx, guard.workflow_id)
    return epoch(tx, guard.workflow_id)


def end(tx: Transaction, workflow_id: str) -> None:
    """Ends whatever lease this store issued over a workflow; its fence stays."""
    row = _lock_known(tx, workflow_id)
    if row is not None and row.expires_us is not None:
        _put(tx, replace(row, expires_us=0))
        tx.changes.released(workflow_id)


def check(tx: Transaction, guard: Guard) -> None:
    """Lets a guard through that `raise_guard` takes; the row stays locked until the commit.

    Raises:
        StaleFenceError, LeaseValidationError, LeaseExpiredError: as check_guard.
    """
    check_guard(_lock(tx, guard.workflow_id), guard, tx.now_us)


def raise_guard(tx: Transaction, guard: Guard) -> str:
    """Checks a guard and, where it is news, makes it the highest known of its workflow; the row
    stays locked until the commit. Returns the holder, where this store knows it.
    """
    row = _lock(tx, guard.workflow_id)
    if check_guard(row, guard, tx.now_us):
        known = row or LeaseRow(guard.workflow_id, 0, "", "", "", 0, None)
        _put(tx, replace(known, fence=guard.fence, lease_id=guard.lease_id))
        return ""
    return row.holder if row is not None else ""


def epoch(tx: Transaction, workflow_id: str) -> int:
    """The version of a workflow's state; 0 where there is none."""
    key = workflow_key(workflow_id)
    if key not in tx.known.versions:
        row = tx.row(SELECT_VERSION, (key,))
        tx.known.versions[key] = row[0] if row else 0
    return tx.known.versions[key]


def _issue(tx: Transaction, last: LeaseRow | None, request: LeaseRequest) -> LeaseRow:
    row = LeaseRow(
        workflow_id=request.workflow_id,
        fence=tx.next_fence(above=last.fence if last else 0),
        lease_id=new_id(tx.now_us),
        request_id=request.request_id,
        holder=request.holder,
        ttl_us=request.ttl_us,
        expires_us=tx.now_us + request.ttl_us,
    )
    _put(tx, row)
    return row


def _lock(tx: Transaction, workflow_id: str) -> LeaseRow | None:
    if workflow_id not in tx.known.leases:
        row = tx.lock_row(_LOCK_LEASE, (workflow_id,))
        if row is None:
            # There must be a row, or two processes could both find none and both go on.
            tx.write(_MAKE_ROOM, (workflow_id,))
            row = tx.lock_row(_LOCK_LEASE, (workflow_id,))
        tx.known.leases[workflow_id] = lease_of(row)
    return tx.known.leases[workflow_id]


def _lock_known(tx: Transaction, workflow_id: str) -> LeaseRow | None:
    if workflow_id in tx.known.leases:
        return tx.known.leases[workflow_id]
    row = tx.lock_row(_LOCK_LEASE, (workflow_id,))
    if row is not None:
        tx.known.leases[workflow_id] = lease_of(row)
    return lease_of(row)


def _put(tx: Transaction, row: LeaseRow) -> None:
    tx.known.leases[row.workflow_id] = row
    tx.later().leases[row.workflow_id] = row


def _renew_or_none(tx: Transaction, guard: Guard) -> LeaseGrant | None:
    try:
        return renew(tx, guard)
    except (LeaseExpiredError, LeaseValidationError, StaleFenceError):
        return None


def _by_workflow(guard: Guard) -> tuple[str, int]:
    return guard.workflow_id, guard.fence
