"""What an operation will look at, said beforehand, so that a batch reads it all at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onex_grpc.store.keys import workflow_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onex_grpc.store.model import ActionRecord, Checkpoint, Commit, Guard, Rollback


@dataclass(frozen=True, slots=True)
class Needs:
    """What is read or locked. What is missing here is read when it is asked for, which is slower.

    Attributes:
        guards: workflows whose row is locked, and made where there is none.
        leases: workflows whose row is locked where there is one.
        fences: how many new fences may be issued.
        changes: keys of states that are locked.
        versions: keys of states whose version is read.
        actions: scopes and ids of actions that may be known.
        intent_ids: ids of intents that may be in use.
        order_keys: of intents that are added.
        due: so many intents whose wait has ended are looked for.
    """

    guards: Sequence[str] = ()
    leases: Sequence[str] = ()
    fences: int = 0
    changes: Sequence[str] = ()
    versions: Sequence[str] = ()
    actions: Sequence[tuple[str, str]] = ()
    intent_ids: Sequence[str] = ()
    order_keys: Sequence[str] = ()
    due: int = 0


NOTHING: Final = Needs()
DUE_ROWS: Final = 64
"""So many intents whose wait has ended one claim looks at, if it does not want more itself."""


def merged(needs: Iterable[Needs]) -> Needs:
    """The needs of a batch, each once and in one order in all processes, so that two that lock the
    same rows do not wait for each other in a circle.
    """
    each = list(needs)
    guards = {name for need in each for name in need.guards}
    changes = {key for need in each for key in need.changes}
    return Needs(
        guards=sorted(guards),
        leases=sorted({name for need in each for name in need.leases} - guards),
        fences=sum(need.fences for need in each),
        changes=sorted(changes),
        versions=sorted({key for need in each for key in need.versions} - changes),
        actions=sorted({known for need in each for known in need.actions}),
        intent_ids=sorted({name for need in each for name in need.intent_ids}),
        order_keys=[key for need in each for key in need.order_keys],
        due=max((need.due for need in each), default=0),
    )


def of_acquire(workflow_id: str) -> Needs:
    """What granting a lease looks at."""
    return Needs(guards=(workflow_id,), fences=1, versions=(workflow_key(workflow_id),))


def of_leases(guards: Sequence[Guard]) -> Needs:
    """What renewing and releasing leases looks at."""
    workflow_ids = [guard.workflow_id for guard in guards]
    return Needs(leases=workflow_ids, versions=[workflow_key(each) for each in workflow_ids])


def of_guard(guard: Guard) -> Needs:
    """What raising a guard looks at."""
    return Needs(guards=(guard.workflow_id,))


def of_claim(limit: int) -> Needs:
    """What a claim of so many intents looks at."""
    return Needs(due=max(limit, DUE_ROWS) if limit > 0 else 0)


def of_commit(change: Commit) -> Needs:
    """What a commit looks at."""
    return Needs(
        guards=() if change.guard is None else (change.guard.workflow_id,),
        changes=(change.key,),
        actions=_ids(change.actions),
        intent_ids=[intent.intent_id for intent in change.intents],
        order_keys=[intent.order_key for intent in change.intents],
    )


def of_restoring(change: Checkpoint | Rollback) -> Needs:
    """The rows that a checkpoint and a rollback look at."""
    return Needs(
        guards=() if change.guard is None else (change.guard.workflow_id,),
        changes=(change.key,),
        actions=_ids(change.actions),
    )


def of_start(workflow_id: str, start: Commit) -> Needs:
    """What granting a lease with a first change looks at."""
    return Needs(
        guards=(workflow_id,),
        fences=1,
        changes=(start.key,),
        versions=(workflow_key(workflow_id),),
        actions=_ids(start.actions),
        intent_ids=[intent.intent_id for intent in start.intents],
        order_keys=[intent.order_key for intent in start.intents],
    )


def of_failure(action: ActionRecord, guard: Guard | None) -> Needs:
    """What recording the failure of an action looks at."""
    return Needs(
        guards=() if guard is None else (guard.workflow_id,),
        versions=(workflow_key(action.scope),),
        actions=_ids((action,)),
    )


def _ids(actions: Sequence[ActionRecord]) -> list[tuple[str, str]]:
    return [(action.scope, action.action_id) for action in actions]
