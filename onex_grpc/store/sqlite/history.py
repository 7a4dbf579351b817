"""Checkpoints, rollbacks and pruning. Each public function is one operation of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store.commit_rules import check_version
from onex_grpc.store.history_rules import check_pin, not_kept, restoring
from onex_grpc.store.model import Checkpoint, Committed, Replayed, Rollback
from onex_grpc.store.sqlite import actions, leases, states
from onex_grpc.store.sqlite.trail import select_version

if TYPE_CHECKING:
    from onex_grpc.store.sqlite.transaction import Row, Transaction

_SELECT_STATE: Final = "SELECT id, version FROM state WHERE key = ?"
_SELECT_PIN: Final = "SELECT version FROM checkpoint WHERE state_id = ? AND name = ?"
_PIN: Final = "INSERT INTO checkpoint (state_id, name, version, pinned_us) VALUES (?, ?, ?, ?)"
_LAST_OLD: Final = "SELECT max(version) FROM history WHERE state_id = ? AND written_us < ?"
_REMOVE: Final = (
    "DELETE FROM history WHERE state_id = ? AND version <= ? AND version NOT IN "
    "(SELECT version FROM checkpoint WHERE state_id = ?) RETURNING version"
)


def checkpoint(tx: Transaction, change: Checkpoint) -> Committed | Replayed:
    """Pins the current version: known actions first, then the guard, then the version."""
    known = actions.find_known(tx, change.actions)
    if known:
        return Replayed(known)
    return _pin(tx, change)


def rollback(tx: Transaction, change: Rollback) -> Committed | Replayed:
    """Writes old content as a new version, in the order of a commit."""
    known = actions.find_known(tx, change.actions)
    if known:
        return Replayed(known)
    return _restore(tx, change)


def prune(tx: Transaction, key: str, keep: int, age_us: int) -> int:
    """Removes old versions of a key; returns how many."""
    found = tx.execute(_SELECT_STATE, (key,)).fetchone()
    if found is None:
        return 0
    old = tx.execute(_LAST_OLD, (found[0], tx.now_us - age_us)).fetchone()
    if old is None or old[0] is None:
        return 0
    return remove_up_to(tx, found[0], old[0] - max(1, keep))


def remove_up_to(tx: Transaction, state_id: int, version: int) -> int:
    """Removes the versions of a state up to this one that no checkpoint pins; returns how many."""
    return len(tx.execute(_REMOVE, (state_id, version, state_id)).fetchall())


def _pin(tx: Transaction, change: Checkpoint) -> Committed:
    state_id, version = _current(tx, change)
    pinned = tx.execute(_SELECT_PIN, (state_id, change.name)).fetchone()
    is_new = check_pin(change, version, pinned[0] if pinned else None)
    holder = "" if change.guard is None else leases.raise_guard(tx, change.guard)
    if is_new:
        tx.execute(_PIN, (state_id, change.name, version, tx.now_us))
    actions.record_successes(tx, change, version, None, holder)
    return Committed(version)


def _restore(tx: Transaction, change: Rollback) -> Committed:
    _current(tx, change)
    old = tx.execute(*select_version(change.key, change.to)).fetchone()
    if old is None:
        raise not_kept(change.key, change.to)
    _, state, state_type = old
    return states.write(tx, restoring(change, state, state_type))


def _current(tx: Transaction, change: Checkpoint | Rollback) -> tuple[int, int]:
    if change.guard is not None:
        leases.check(tx, change.guard)
    row: Row | None = tx.execute(_SELECT_STATE, (change.key,)).fetchone()
    state_id, version = row or (0, 0)
    check_version(change, version)
    return state_id, version
