"""The only writer of states. Each function is one operation of a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onex_grpc.store.commit_rules import check_version, first_action
from onex_grpc.store.model import (
    Commit,
    Committed,
    LeaseRequest,
    Replayed,
    Started,
)
from onex_grpc.store.postgres import actions, intents, leases

if TYPE_CHECKING:
    from onex_grpc.store.postgres.transaction import Row, Transaction


def commit(tx: Transaction, change: Commit) -> Committed | Replayed:
    """Writes one change with all that belongs to it: known actions first, then the guard, then the
    version.
    """
    known = actions.find_known(tx, change.actions)
    return Replayed(known) if known else write(tx, change)


def acquire_and_start(tx: Transaction, request: LeaseRequest, start: Commit) -> Started | Replayed:
    """Grants a lease and writes the first change under it."""
    known = actions.find_known(tx, start.actions)
    if known:
        return Replayed(known)
    leases.check_free(tx, request)
    _check(tx, start)
    lease = leases.acquire(tx, request)
    written = write(tx, replace(start, guard=lease.guard))
    return Started(lease=replace(lease, epoch=written.version), version=written.version)


def write(tx: Transaction, change: Commit) -> Committed:
    """Writes a change whose actions are new."""
    # All that can refuse it comes before the first write: then there is nothing to undo, and the
    # other members of the batch go on.
    if change.guard is not None:
        leases.check(tx, change.guard)
    _check(tx, change)
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


def _check(tx: Transaction, change: Commit) -> None:
    check_version(change, _version(tx, change.key))
    if change.intents:
        intents.check_unused(tx, change.intents)


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


def _version(tx: Transaction, key: str) -> int:
    if key not in tx.known.locked:
        row = tx.row("SELECT version FROM state WHERE key = %s FOR UPDATE", (key,))
        tx.known.versions[key] = row[0] if row else 0
        tx.known.locked.add(key)
    return tx.known.versions[key]


def _advance(tx: Transaction, change: Commit) -> int:
    version = _version(tx, change.key) + 1
    tx.known.versions[change.key] = version
    tx.later().add_state(change.key, version, change.open)
    return version
