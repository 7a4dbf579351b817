"""Checkpoints, rollbacks and pruning in memory. Each public function is an operation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.store.commit_rules import check_version
from onex_grpc.store.history_rules import check_pin, not_kept, restoring
from onex_grpc.store.memory import states, trail
from onex_grpc.store.model import Checkpoint, Committed, Replayed, Rollback

if TYPE_CHECKING:
    from onex_grpc.store.memory.transaction import Transaction


def checkpoint(tx: Transaction, change: Checkpoint) -> Committed | Replayed:
    """Pins the current version: known actions first, then the guard, then the version."""
    known = states.find_known(tx, change.actions)
    if known:
        return Replayed(known)
    version = _admit(tx, change)
    pin = (change.key, change.name)
    if check_pin(change, version, tx.tables.checkpoints.get(pin)):
        tx.put(tx.tables.checkpoints, pin, version)
    states.record_successes(tx, change, version)
    return Committed(version)


def rollback(tx: Transaction, change: Rollback) -> Committed | Replayed:
    """Writes old content as a new version, in the order of a commit."""
    known = states.find_known(tx, change.actions)
    if known:
        return Replayed(known)
    _admit(tx, change)
    old = trail.version_at(tx.tables, change.key, change.to)
    if old is None:
        raise not_kept(change.key, change.to)
    return states.write(tx, restoring(change, old.entry.state, old.entry.state_type))


def prune(tx: Transaction, key: str, keep: int, age_us: int) -> int:
    """Removes old versions of a key; returns how many."""
    current = tx.tables.version(key)
    cutoff_us = tx.now_us - age_us
    rows = (tx.tables.history.get((key, version)) for version in range(current, 0, -1))
    old = next((row.entry.version for row in rows if row and row.entry.written_us < cutoff_us), 0)
    return remove_up_to(tx, key, old - max(1, keep))


def remove_up_to(tx: Transaction, key: str, version: int) -> int:
    """Removes the versions of a key up to this one that no checkpoint pins; returns how many."""
    pinned = {at for (of, _), at in tx.tables.checkpoints.items() if of == key}
    removed = [
        (key, old)
        for old in range(1, version + 1)
        if old not in pinned and (key, old) in tx.tables.history
    ]
    for name in removed:
        tx.remove(tx.tables.history, name)
    return len(removed)


def _admit(tx: Transaction, change: Checkpoint | Rollback) -> int:
    if change.guard is not None:
        states.raise_guard(tx, change.guard)
    version = tx.tables.version(change.key)
    check_version(change, version)
    return version
