"""What becomes of a workflow when a step fails: retried, else skipped, else aborted."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from onex_grpc.errors import OnexError, OutcomeUnknownError
from onex_grpc.rpc.status import reason_of

if TYPE_CHECKING:
    from onex.v1 import common_pb2, orchestrator_pb2

_DEFAULT_RETRIES: Final = 3
_DEFAULT_INITIAL: Final = 0.1
_DEFAULT_LONGEST: Final = 30.0
_DEFAULT_MULTIPLIER: Final = 2.0


class FailurePolicy:
    """The conflict_resolution of a workflow."""

    def __init__(self, resolution: orchestrator_pb2.ConflictResolution) -> None:
        self._conditions = frozenset(
            resolution.retry_conditions if resolution.retry_enabled else ()
        )
        config = resolution.retry_config
        given = resolution.HasField("retry_config")
        self._max_retries = config.max_retries if given else _DEFAULT_RETRIES
        self._initial = _seconds(config, "initial_backoff", _DEFAULT_INITIAL)
        self._longest = _seconds(config, "max_backoff", _DEFAULT_LONGEST)
        self._multiplier = (
            config.multiplier if config.HasField("multiplier") else _DEFAULT_MULTIPLIER
        )
        self.skips = resolution.continue_on_error

    def retry_delay(self, error: OnexError, attempts: int) -> float | None:
        """Seconds to wait before the next attempt, after so many; None when there is none.

        An unknown outcome is never retried, whatever the conditions say: the effect may have
        happened.
        """
        if attempts > self._max_retries or isinstance(error, OutcomeUnknownError):
            return None
        if not self._conditions & {reason_of(error), error.status.name}:
            return None
        wait = min(self._longest, self._initial * self._multiplier ** (attempts - 1))
        if error.retry_after is not None:
            wait = max(wait, min(error.retry_after, self._longest))
        # Equal jitter: half of the wait is certain, so that a retry never comes at once.
        return wait * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


def _seconds(config: common_pb2.RetryPolicy, field: str, default: float) -> float:
    if not config.HasField(field):  # type: ignore[arg-type]
        return default
    duration = config.initial_backoff if field == "initial_backoff" else config.max_backoff
    return duration.ToNanoseconds() / 1e9
