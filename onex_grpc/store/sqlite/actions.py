"""The log of actions. Each public function is part of an operation of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.store.commit_rules import check_same
from onex_grpc.store.model import ActionRecord, Checkpoint, Commit, Guard, RecordedAction
from onex_grpc.store.sqlite import leases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.sqlite.transaction import Transaction

SELECT_ACTION = (
    "SELECT content_hash, reply, error, epoch, request, issued_us FROM action "
    "WHERE scope = ? AND action_id = ?"
)
_INSERT = (
    "INSERT INTO action (scope, action_id, content_hash, action_type, target, correlation_id, "
    "issued_us, fence, basis, lease_id, parent_action_id, request, reply, error, epoch, "
    "history_id, finished_us, holder) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def find_known(tx: Transaction, actions: Sequence[ActionRecord]) -> RecordedAction | None:
    """The recorded outcome of the first action that is known.

    Raises:
        AlreadyExistsError: the id is known with other content.
    """
    for action in actions:
        row = tx.execute(SELECT_ACTION, (action.scope, action.action_id)).fetchone()
        if row is None:
            continue
        known = RecordedAction(*row)
        check_same(known, action)
        return known
    return None


def record_successes(
    tx: Transaction, change: Commit | Checkpoint, version: int, history_id: int | None, holder: str
) -> None:
    """Records the actions of a change with its reply."""
    for action in change.actions:
        _insert(tx, action, (change.reply, b"", version, history_id, holder))


def record_failure(
    tx: Transaction, action: ActionRecord, error: bytes, guard: Guard | None
) -> None:
    """Records the final failure of an action; one that is known keeps its first outcome."""
    if find_known(tx, (action,)) is None:
        holder = "" if guard is None else leases.raise_guard(tx, guard)
        _insert(tx, action, (b"", error, leases.epoch(tx, action.scope), None, holder))


def _insert(
    tx: Transaction, action: ActionRecord, outcome: tuple[bytes, bytes, int, int | None, str]
) -> None:
    reply, error, epoch, history_id, holder = outcome
    tx.execute(
        _INSERT,
        (
            action.scope,
            action.action_id,
            action.content_hash,
            action.action_type,
            action.target,
            action.correlation_id,
            action.issued_us,
            action.fence,
            action.epoch,
            action.lease_id,
            action.parent_action_id,
            action.request,
            reply,
            error,
            epoch,
            history_id,
            tx.now_us,
            holder,
        ),
    )
