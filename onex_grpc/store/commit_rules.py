"""What a commit may repeat and which version it may follow: the decisions, free of any database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.errors import AlreadyExistsError, EpochMismatchError
from onex_grpc.store.model import Exact

if TYPE_CHECKING:
    from onex_grpc.store.model import ActionRecord, Checkpoint, Commit, RecordedAction, Rollback


def check_same(known: RecordedAction, action: ActionRecord) -> None:
    """Lets an action through that is the known one again.

    Raises:
        AlreadyExistsError: the id is known with other content.
    """
    if known.content_hash != action.content_hash:
        raise AlreadyExistsError(
            f"action_id {action.action_id} was used in {action.scope} with other content; "
            "take a new id",
            context={"scope": action.scope, "action_id": action.action_id},
        )


def first_action(change: Commit) -> ActionRecord | None:
    """The action that the history names as the reason of a change."""
    return next(iter(change.actions), None)


def check_version(change: Commit | Checkpoint | Rollback, current: int) -> None:
    """Lets a change through that expects the current version, or leaves it to its guard.

    Raises:
        EpochMismatchError: the state has another version.
    """
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
