"""The only writer of states. Each function is one operation of a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

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
    from onex_grpc.store.postgres.transaction import Row, Transaction


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
    if actions.is_recorded(tx, change.actions):
        raise AgainError from refusal


def write(tx: Transaction, change: Commit) -> Committed:
    """Writes a change whose actions are new."""
    holder = "" if change.guard is None else leases.raise_guard(tx, change.guard)
    version = _advance(tx, change)
    tx.later().history.append(_history_row(tx, change, version, holder))
    if change.actions:
        actions.record_successes(tx, change, version, holder)
    if change.intents:
        intents.add(tx, change.intents)
    if change.release and change.guard is not None:
        leases.end(tx, change.guard.workflow_id)
    return Committed(version)


def _history_row(tx: Transaction, change: Commit, version: int, holder: str) -> Row:
    guard, by = change.guard, first_action(change)
    return (
        change.key,
        version,
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


def _advance(tx: Transaction, change: Commit) -> int:
    if change.key not in tx.known.locked:
        row = tx.row("SELECT version FROM state WHERE key = %s FOR UPDATE", (change.key,))
        tx.known.versions[change.key] = row[0] if row else 0
        tx.known.locked.add(change.key)
    current = tx.known.versions[change.key]
    check_version(change, current)
    version = current + 1
    tx.known.versions[change.key] = version
    tx.later().add_state(change.key, version, change.open)
    return version
