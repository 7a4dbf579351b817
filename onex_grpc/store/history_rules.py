"""What may be pinned, rolled back to and pruned: the decisions, free of any database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.errors import AlreadyExistsError, HistoryNotFoundError
from onex_grpc.store.model import Commit

if TYPE_CHECKING:
    from onex_grpc.store.model import Checkpoint, Rollback


def check_pin(change: Checkpoint, current: int, pinned: int | None) -> bool:
    """Lets a checkpoint through, and says whether it must be written.

    Args:
        change: the checkpoint.
        current: the version of the state.
        pinned: the version that a checkpoint of this name pins already.

    Raises:
        HistoryNotFoundError: there is no version yet.
        AlreadyExistsError: the name is that of another version.
    """
    if not current:
        raise HistoryNotFoundError(
            f"key {change.key}: there is no version yet that a checkpoint could pin",
            context={"key": change.key},
        )
    if pinned is not None and pinned != current:
        raise AlreadyExistsError(
            f"key {change.key}: checkpoint {change.name} pins version {pinned}; take another name",
            context={"key": change.key, "version": str(pinned)},
        )
    return pinned is None


def not_kept(key: str, to: int | str) -> HistoryNotFoundError:
    """The refusal of a version or checkpoint that the history does not have."""
    what = f"version {to}" if isinstance(to, int) else f"checkpoint {to}"
    return HistoryNotFoundError(
        f"key {key}: its history has no {what}; list the history for what it has",
        context={"key": key},
    )


def restoring(change: Rollback, state: bytes, state_type: str) -> Commit:
    """The commit of a rollback's old content, or what was made of it, as a new version."""
    return Commit(
        key=change.key,
        expect=change.expect,
        state=state if change.rewritten is None else change.rewritten,
        state_type=state_type,
        guard=change.guard,
        kind=change.kind,
        actions=change.actions,
        reply=change.reply,
        open=change.open,
    )
