"""The only writer of states. Each function is one operation of a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onex_grpc.errors import EpochMismatchError, OnexError
from onex_grpc.store.model import (
    Commit,
    Committed,
    Exact,
    LeaseRequest,
    Replayed,
    Started,
)
from onex_grpc.store.postgres import actions, intents, leases
from onex_grpc.store.postgres.transaction import AgainError

if TYPE_CHECKING:
    from onex_grpc.store.postgres.transaction import Transaction


def commit(tx: Transaction, change: Commit) -> Committed | Replayed:
    """Writes one change with all that belongs to it: known actions first, then the guard, then the
    version.
    """
    known = actions.find_known(tx, change.actions)
    if known:
        return Replayed(known)
    try:
        return _write(tx, change)
    except OnexError as refusal:
        _check_unknown(tx, change, refusal)
        raise


def acquire_and_start(tx: Transaction, request: LeaseRequest, start: Commit) -> Started | Replayed:
    """Grants a lease and writes the first change under it."""
    known = actions.find_known(tx, start.actions)
    if known:
        return Replayed(known)
    try:
        lease = leases.acquire(tx, request)
        written = _write(tx, replace(start, guard=lease.guard))
    except OnexError as refusal:
        _check_unknown(tx, start, refusal)
        raise
    return Started(lease=replace(lease, epoch=written.version), version=written.version)


def _check_unknown(tx: Transaction, change: Commit, refusal: OnexError) -> None:
    # While this waited for a lock, another process may have written the same action: then that is
    # why it is refused, and it is a repeat.
    if actions.find_known(tx, change.actions) is not None:
        raise AgainError from refusal


def _write(tx: Transaction, change: Commit) -> Committed:
    if change.guard is not None:
        leases.raise_guard(tx, change.guard)
    state_id, version = _advance(tx, change)
    fence = change.guard.fence if change.guard else 0
    tx.write(
        "INSERT INTO history (state_id, version, kind, fence, written_us, state_type, state) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (state_id, version, change.kind, fence, tx.now_us, change.state_type, change.state),
    )
    if change.actions:
        actions.record_successes(tx, change, version)
    if change.intents:
        intents.add(tx, change.intents)
    if change.release and change.guard is not None:
        leases.end(tx, change.guard.workflow_id)
    return Committed(version)


def _advance(tx: Transaction, change: Commit) -> tuple[int, int]:
    row = tx.row("SELECT id, version FROM state WHERE key = %s FOR UPDATE", (change.key,))
    current: int = row[1] if row else 0
    if isinstance(change.expect, Exact) and change.expect.version != current:
        raise EpochMismatchError(
            f"key {change.key}: its version is {current}, not {change.expect.version}; read the "
            "state and try again",
            context={
                "key": change.key,
                "current": str(current),
                "expected": str(change.expect.version),
            },
        )
    version = current + 1
    if row is None:
        ((new_id,),) = tx.write_rows(
            "INSERT INTO state (key, version, open) VALUES (%s, %s, %s) RETURNING id",
            (change.key, version, change.open or False),
        )
        return new_id, version
    state_id: int = row[0]
    tx.write(
        "UPDATE state SET version = %s, open = coalesce(%s::boolean, open) WHERE id = %s",
        (version, change.open, state_id),
    )
    return state_id, version
