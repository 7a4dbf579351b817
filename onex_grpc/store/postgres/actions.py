"""The log of actions. Each public function is part of an operation of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.store.commit_rules import check_same
from onex_grpc.store.model import ActionRecord, Checkpoint, Commit, Guard, RecordedAction
from onex_grpc.store.postgres import leases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.postgres.transaction import Transaction

SELECT_ACTION = (
    "SELECT content_hash, reply, error, epoch, request, issued_us FROM action "
    "WHERE scope = %s AND action_id = %s"
)


def find_known(tx: Transaction, actions: Sequence[ActionRecord]) -> RecordedAction | None:
    """The recorded outcome of the first action that is known.

    Raises:
        AlreadyExistsError: the id is known with other content.
    """
    for action in actions:
        known = _find(tx, action.scope, action.action_id)
        if known is None:
            continue
        check_same(known, action)
        return known
    return None


def record_successes(
    tx: Transaction, change: Commit | Checkpoint, version: int, holder: str
) -> None:
    """Records the actions of a change with its reply."""
    for action in change.actions:
        _insert(tx, action, change.reply, b"", version, holder)


def record_failure(
    tx: Transaction, action: ActionRecord, error: bytes, guard: Guard | None
) -> None:
    """Records the final failure of an action; one that is known keeps its first outcome."""
    if find_known(tx, (action,)) is None:
        holder = "" if guard is None else leases.raise_guard(tx, guard)
        _insert(tx, action, b"", error, leases.epoch(tx, action.scope), holder)


def _insert(
    tx: Transaction, action: ActionRecord, reply: bytes, error: bytes, epoch: int, holder: str
) -> None:
    key = (action.scope, action.action_id)
    tx.known.actions[key] = RecordedAction(
        action.content_hash, reply, error, epoch, action.request, action.issued_us
    )
    tx.later().actions.append(
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
            bool(error),
            tx.now_us,
            holder,
        )
    )


def _find(tx: Transaction, scope: str, action_id: str) -> RecordedAction | None:
    key = (scope, action_id)
    if key not in tx.known.actions:
        row = tx.row(SELECT_ACTION, key)
        tx.known.actions[key] = None if row is None else RecordedAction(*row)
    return tx.known.actions[key]
