"""Refusals that all targets share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.errors import (
    AlreadyExistsError,
    OnexError,
    OperationRefusedError,
    OutcomeUnknownError,
)

if TYPE_CHECKING:
    from onex_grpc.effect.operation import EffectRequest


def refuse_kind(request: EffectRequest, kind: str) -> None:
    """Raises OperationRefusedError unless the operation is of the target's kind."""
    got = request.operation.WhichOneof("operation")
    if got != kind:
        raise OperationRefusedError(
            f"target {request.target!r} carries out {kind} operations, not {got or 'an empty one'}",
            context={"target": request.target, "operation": str(got)},
        )


def refuse_unless(allowed: bool, request: EffectRequest, permission: str) -> None:
    """Raises OperationRefusedError where the settings of the target lack a permission."""
    if not allowed:
        raise OperationRefusedError(
            f"target {request.target!r} does not allow {permission}; "
            "add it to the target's `allow`",
            context={"target": request.target, "permission": permission},
        )


def key_reused(request: EffectRequest) -> OnexError:
    """The error for an idempotency key that is known with other content."""
    return AlreadyExistsError(
        f"idempotency_key {request.key!r} was used at target {request.target!r} for another "
        "operation; take a new key for a new effect",
        context={"target": request.target, "idempotency_key": request.key},
    )


def interrupted(request: EffectRequest) -> OnexError:
    """The error for an effect that was interrupted when it may have happened already."""
    return OutcomeUnknownError(
        f"the effect at target {request.target!r} was interrupted after it had begun; "
        "look at the target before you repeat it",
        context={"target": request.target},
    )
