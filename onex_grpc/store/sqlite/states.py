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
    from onex_grpc.store.sqlite.transaction import Row, Transaction


_FIND: Final = "SELECT id, version FROM state WHERE key = ?"
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
    free = leases.check_free(tx, request)
    state_id, version = _position(tx, start)
    if start.intents:
        intents.add(tx, start.intents)
    lease = leases.grant(tx, request, free, version + 1)
    _put(tx, replace(start, guard=lease.guard), state_id, version + 1, request.holder)
    return Started(lease=lease, version=version + 1)


def write(tx: Transaction, change: Commit) -> Committed:
    """Writes a change whose actions are new."""
    # All that can refuse it comes before the first write that stays: then there is nothing to undo,
    # and the other members of the batch go on.
    known = None if change.guard is None else leases.check(tx, change.guard)
    state_id, version = _position(tx, change)
    if change.intents:
        intents.add(tx, change.intents)
    if change.guard is not None:
        leases.put_guard(tx, change.guard, known)
    _put(tx, change, state_id, version + 1, "" if known is None else known.holder)
    return Committed(version + 1)


def _position(tx: Transaction, change: Commit) -> tuple[int, int]:
    """The state's id, 0 where there is none yet, and its version.

    Raises:
        EpochMismatchError: it is not the version that the change expects.
    """
    row: Row | None = tx.execute(_FIND, (change.key,)).fetchone()
    state_id, version = row or (0, 0)
    check_version(change, version)
    return state_id, version


def _put(tx: Transaction, change: Commit, state_id: int, version: int, holder: str) -> None:
    state_id = _put_state(tx, change, state_id, version)
    tx.execute(_KEEP_VERSION, _history_row(tx, change, (state_id, version), holder))
    if change.actions:
        actions.record_successes(tx, change, version, tx.connection.last_insert_rowid(), holder)
    if change.release and change.guard is not None:
        leases.end(tx, change.guard.workflow_id)


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


def _put_state(tx: Transaction, change: Commit, state_id: int, version: int) -> int:
    if not state_id:
        tx.execute(
            "INSERT INTO state (key, version, open) VALUES (?, ?, ?)",
            (change.key, version, int(change.open or False)),
        )
        return tx.connection.last_insert_rowid()
    if change.open is None:
        tx.execute("UPDATE state SET version = ? WHERE id = ?", (version, state_id))
    else:
        tx.execute(
            "UPDATE state SET version = ?, open = ? WHERE id = ?",
            (version, int(change.open), state_id),
        )
    return state_id
