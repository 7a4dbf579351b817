"""Leases in SQLite. Each function is one operation of a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.model import Guard, LeaseGrant, LeaseRequest
    from onex_grpc.store.sqlite.transaction import Transaction

SELECT_LEASE = (
    "SELECT workflow_id, fence, lease_id, request_id, holder, ttl_us, expires_us "
    "FROM workflow WHERE workflow_id = ?"
)
SELECT_VERSION = "SELECT version FROM state WHERE key = ?"


class Free(NamedTuple):
    """A workflow over which a lease can be granted.

    Attributes:
        last: the last lease over it; None where there was none.
        repeated: the request asks again for that one, which it has got already.
    """

    last: LeaseRow | None
    repeated: bool


def check_free(tx: Transaction, request: LeaseRequest) -> Free:
    """Lets a request through that `grant` grants.

    Raises:
        LeaseConflictError: another one's lease stands in the way.
    """
    row = _lease(tx, request.workflow_id)
    return Free(row, row is not None and is_repeat(row, request, tx.now_us))


def grant(tx: Transaction, request: LeaseRequest, free: Free, epoch: int) -> LeaseGrant:
    """Grants a lease with a new fence, or the same one to a repeat of its request."""
    row = free.last if free.last is not None and free.repeated else _issue(tx, free.last, request)
    return row.grant(tx.now_us, epoch)


def acquire(tx: Transaction, request: LeaseRequest) -> LeaseGrant:
    """Grants a lease, as `grant`; raises as `check_free`."""
    free = check_free(tx, request)
    return grant(tx, request, free, epoch(tx, request.workflow_id))


def steal(tx: Transaction, request: LeaseRequest) -> LeaseGrant:
    """Grants a lease with a new fence whoever holds the last one."""
    row = _lease(tx, request.workflow_id)
    if row is None or not is_stolen_before(row, request, tx.now_us):
        row = _issue(tx, row, request)
    return row.grant(tx.now_us, epoch(tx, request.workflow_id))


def renew(tx: Transaction, guard: Guard) -> LeaseGrant:
    """Prolongs a lease by its ttl."""
    row = check_current(_lease(tx, guard.workflow_id), guard, tx.now_us)
    expires_us = tx.now_us + row.ttl_us
    tx.execute(
        "UPDATE workflow SET expires_us = ? WHERE workflow_id = ?", (expires_us, guard.workflow_id)
    )
    return replace(row, expires_us=expires_us).grant(tx.now_us, epoch(tx, guard.workflow_id))


def renew_all(tx: Transaction, guards: Sequence[Guard]) -> Sequence[LeaseGrant | None]:
    """Prolongs leases; None for each that cannot be."""
    return [_renew_or_none(tx, guard) for guard in guards]


def release(tx: Transaction, guard: Guard) -> int:
    """Ends a lease; returns the epoch."""
    if check_release(_lease(tx, guard.workflow_id), guard):
        end(tx, guard.workflow_id)
    return epoch(tx, guard.workflow_id)


def end(tx: Transaction, workflow_id: str) -> None:
    """Ends whatever lease this store issued over a workflow; its fence stays."""
    tx.execute(
        "UPDATE workflow SET expires_us = 0 WHERE workflow_id = ? AND expires_us IS NOT NULL",
        (workflow_id,),
    )
    tx.changes.released(workflow_id)


def check(tx: Transaction, guard: Guard) -> LeaseRow | None:
    """Lets a guard through; returns what is known of its workflow, for `put_guard`.

    Raises:
        StaleFenceError, LeaseValidationError, LeaseExpiredError: as check_guard.
    """
    row = _lease(tx, guard.workflow_id)
    check_guard(row, guard, tx.now_us)
    return row


def put_guard(tx: Transaction, guard: Guard, known: LeaseRow | None) -> None:
    """Makes a guard that was let through the highest known of its workflow, where it is news."""
    if known is None or guard.fence > known.fence:
        tx.execute(
            "INSERT INTO workflow (workflow_id, fence, lease_id) VALUES (?, ?, ?) "
            "ON CONFLICT (workflow_id) "
            "DO UPDATE SET fence = excluded.fence, lease_id = excluded.lease_id",
            (guard.workflow_id, guard.fence, guard.lease_id),
        )


def raise_guard(tx: Transaction, guard: Guard) -> str:
    """Checks a guard and, where it is news, makes it the highest known of its workflow.

    Returns the holder, where this store knows it.
    """
    known = check(tx, guard)
    put_guard(tx, guard, known)
    return "" if known is None else known.holder


def epoch(tx: Transaction, workflow_id: str) -> int:
    """The version of a workflow's state; 0 where there is none."""
    row = tx.execute(SELECT_VERSION, (workflow_key(workflow_id),)).fetchone()
    version: int = row[0] if row else 0
    return version


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
    tx.execute(
        "INSERT OR REPLACE INTO workflow "
        "(workflow_id, fence, lease_id, request_id, holder, ttl_us, expires_us) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            row.workflow_id,
            row.fence,
            row.lease_id,
            row.request_id,
            row.holder,
            row.ttl_us,
            row.expires_us,
        ),
    )
    return row


def _lease(tx: Transaction, workflow_id: str) -> LeaseRow | None:
    row = tx.execute(SELECT_LEASE, (workflow_id,)).fetchone()
    return None if row is None else LeaseRow(*row)


def _renew_or_none(tx: Transaction, guard: Guard) -> LeaseGrant | None:
    try:
        return renew(tx, guard)
    except (LeaseExpiredError, LeaseValidationError, StaleFenceError):
        return None
