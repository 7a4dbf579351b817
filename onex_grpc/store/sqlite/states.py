"""The only writer of states. Each function is one operation of a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from onex_grpc.store.commit_rules import check_version, first_action
from onex_grpc.store.model import (
    Commit,
    Committed,
    LeaseRequest,
    Replayed,
    Started,
)
from onex_grpc.store.sqlite import actions, intents, leases

if TYPE_CHECKING:
    from onex_grpc.store.sqlite.transaction import Transaction


_KEEP_VERSION: Final = (
    "INSERT INTO history (state_id, version, kind, fence, lease_id, holder, action_id, "
    "parent_action_id, intents, written_us, state_type, state) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


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
    lease = leases.acquire(tx, request)
    written = write(tx, replace(start, guard=lease.guard))
    return Started(lease=replace(lease, epoch=written.version), version=written.version)


def write(tx: Transaction, change: Commit) -> Committed:
    """Writes a change whose actions are new."""
    holder = "" if change.guard is None else leases.raise_guard(tx, change.guard)
    state_id, version = _advance(tx, change)
    tx.execute(_KEEP_VERSION, _history_row(tx, change, (state_id, version), holder))
    if change.actions:
        actions.record_successes(tx, change, version, tx.connection.last_insert_rowid(), holder)
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
    row = tx.execute("SELECT id, version FROM state WHERE key = ?", (change.key,)).fetchone()
    current: int = row[1] if row else 0
    check_version(change, current)
    version = current + 1
    if row is None:
        tx.execute(
            "INSERT INTO state (key, version, open) VALUES (?, ?, ?)",
            (change.key, version, int(change.open or False)),
        )
        return tx.connection.last_insert_rowid(), version
    state_id: int = row[0]
    if change.open is None:
        tx.execute("UPDATE state SET version = ? WHERE id = ?", (version, state_id))
    else:
        tx.execute(
            "UPDATE state SET version = ?, open = ? WHERE id = ?",
            (version, int(change.open), state_id),
        )
    return state_id, version
