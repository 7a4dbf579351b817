"""One log record for each use of the outside world."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onex_grpc.effect.operation import EffectRequest

_log = logging.getLogger("onex_grpc.audit")


def audit(request: EffectRequest, outcome: str, *, attempts: int, seconds: float) -> None:
    """Records what was done where and how it ended; never what was sent, which may be secret.

    Args:
        request: what was done.
        outcome: `OK`, `REPLAYED`, or the reason of the error.
        attempts: how often it was tried.
        seconds: how long it took, repeats and waits included.
    """
    _log.info(
        "effect",
        extra={
            "target": request.target,
            "operation": request.operation.WhichOneof("operation"),
            "idempotency_key": request.key,
            "correlation_id": request.correlation_id,
            "outcome": outcome,
            "attempts": attempts,
            "seconds": round(seconds, 6),
        },
    )
