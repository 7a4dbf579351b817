"""The only writer of states. Each function is one operation of a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from onex_grpc.errors import OnexError
from onex_grpc.store.commit_rules import check_version, first_action
from onex_grpc.store.model import (
    Commit,
    Committed,
    LeaseRequest,
    Replayed,
    Started,
)
from onex_grpc.store.postgres import actions, intents, leases
from onex_grpc.store.postgres.transaction import AgainError

if TYPE_CHECKING:
    from onex_grpc.store.model import Checkpoint, Rollback
    from onex_grpc.store.postgres.transaction import Transaction


_KEEP_VERSION: Final = (
    "INSERT INTO history (state_id, version, kind, fence, lease_id, holder, action_id, "
    "parent_action_id, intents, written_us, state_type, state) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


def commit(tx: Transaction, change: Commit) -> Committed | Replayed:
    """Writes one change with all that belongs to it: known actions first, then the guard, then the
    version.
    """
    known = actions.find_known(tx, change.actions)
    if known:
        return Replayed(known)
    try:
        return write(tx, change)
    except OnexError as refusal:
        check_unknown(tx, change, refusal)
        raise


def acquire_and_start(tx: Transaction, request: LeaseRequest, start: Commit) -> Started | Replayed:
    """Grants a lease and writes the first change under it."""
    known = actions.find_known(tx, start.actions)
    if known:
        return Replayed(known)
    try:
        lease = leases.acquire(tx, request)
        written = write(tx, replace(start, guard=lease.guard))
    except OnexError as refusal:
        check_unknown(tx, start, refusal)
        raise
    return Started(lease=replace(lease, epoch=written.version), version=written.version)


def check_unknown(
    tx: Transaction, change: Commit | Checkpoint | Rollback, refusal: OnexError
) -> None:
    """Runs the change again where another process has written the same action while this waited
    for a lock: then that is why it is refused, and it is a repeat.

    Raises:
        AgainError: it is known now.
    """
    if actions.find_known(tx, change.actions) is not None:
        raise AgainError from refusal


def write(tx: Transaction, change: Commit) -> Committed:
    """Writes a change whose actions are new."""
    holder = "" if change.guard is None else leases.raise_guard(tx, change.guard)
    state_id, version = _advance(tx, change)
    tx.write(_KEEP_VERSION, _history_row(tx, change, (state_id, version), holder))
    if change.actions:
        actions.record_successes(tx, change, version, holder)
    if change.intents:
        intents.add(tx, change.intents)
    if change.release and change.guard is not None:
        leases.end(tx, change.guard.workflow_id)
    return Committed(version)


def _history_row(
    tx: Transaction, change: Commit, at: tuple[int, int], holder: str
) -> tuple[object, ...]:
    guard, by = change.guard, first_action(change)
    return (
        *at,
        change.kind,
        guard.fence if guard else 0,
        guard.lease_id if guard else "",
        holder,
        by.action_id if by else "",
        by.parent_action_id if by else "",
        "\n".join(intent.intent_id for intent in change.intents),
        tx.now_us,
        change.state_type,
        change.state,
    )


def _advance(tx: Transaction, change: Commit) -> tuple[int, int]:
    row = tx.row("SELECT id, version FROM state WHERE key = %s FOR UPDATE", (change.key,))
    current: int = row[1] if row else 0
    check_version(change, current)
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
