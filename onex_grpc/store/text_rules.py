"""Text that no store takes: PostgreSQL cannot keep NUL, so that none of them does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.errors import ContractValidationError, Violation
from onex_grpc.store.model import Commit, Rollback

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onex_grpc.store.model import (
        ActionRecord,
        Checkpoint,
        Guard,
        LeaseRequest,
        NewIntent,
        PendingStep,
    )

_NUL: Final = "\0"


def refuse_nul(**texts: str) -> None:
    """Lets text through that has no NUL (U+0000) in it.

    Raises:
        ContractValidationError: names the parameter.
    """
    for name, text in texts.items():
        if _NUL in text:
            raise _refusal(name)


def check_guards(guards: Iterable[Guard]) -> None:
    """Lets guards through whose texts have no NUL."""
    for guard in guards:
        if _NUL in guard.workflow_id or _NUL in guard.lease_id:
            raise _refusal("guard")


def check_request(request: LeaseRequest) -> None:
    """Lets a wish for a lease through whose texts have no NUL."""
    refuse_nul(
        workflow_id=request.workflow_id, holder=request.holder, request_id=request.request_id
    )


def check_action(action: ActionRecord) -> None:
    """Lets an action through whose texts have no NUL."""
    if _NUL in "".join(
        (
            action.scope,
            action.action_id,
            action.target,
            action.correlation_id,
            action.lease_id,
            action.parent_action_id,
        )
    ):
        raise _refusal("actions")


def check_steps(steps: Iterable[PendingStep], ended: Iterable[str]) -> None:
    """Let pending steps and the ids of ended ones through whose texts have no NUL."""
    for step in steps:
        if _NUL in "".join((step.action_id, step.step_id, step.target)):
            raise _refusal("steps")
    refuse_nul(ended="".join(ended))


def check_change(change: Commit | Checkpoint | Rollback) -> None:
    """Lets a change through whose texts have no NUL."""
    refuse_nul(key=change.key)
    if change.guard is not None:
        check_guards((change.guard,))
    for action in change.actions:
        check_action(action)
    if isinstance(change, Commit):
        refuse_nul(kind=change.kind, state_type=change.state_type)
        for intent in change.intents:
            _check_intent(intent)
    elif isinstance(change, Rollback):
        refuse_nul(kind=change.kind, to=change.to if isinstance(change.to, str) else "")
    else:
        refuse_nul(name=change.name)


def _check_intent(intent: NewIntent) -> None:
    if _NUL in "".join(
        (
            intent.intent_id,
            intent.order_key,
            intent.route,
            intent.correlation_id,
            intent.traceparent,
        )
    ):
        raise _refusal("intents")


def _refusal(field: str) -> ContractValidationError:
    return ContractValidationError.of(
        Violation(field, "has the character NUL (U+0000) in it, which no store keeps; leave it out")
    )
