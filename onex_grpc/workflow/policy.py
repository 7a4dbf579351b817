"""What becomes of a step that fails: repeated, else skipped, else the workflow is aborted."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from onex_grpc.action.outcome import Failure
from onex_grpc.errors import OnexError, OutcomeUnknownError
from onex_grpc.rpc.status import reason_of

if TYPE_CHECKING:
    from onex.v1 import common_pb2, orchestrator_pb2

_DEFAULT_RETRIES: Final = 3
_DEFAULT_INITIAL: Final = 0.1
_DEFAULT_LONGEST: Final = 30.0
_DEFAULT_MULTIPLIER: Final = 2.0
# A server's RetryInfo may ask for more than the longest wait; beyond this it is a mistake.
_MOST_ASKED: Final = 300.0
# From here on every wait is the longest: greater powers would overflow.
_MOST_GROWTH: Final = 64


class FailurePolicy:
    """The conflict_resolution of a workflow, or the retries that a handler's contract states.

    Attributes:
        skips: a step that failed for good is skipped, and its workflow goes on.
    """

    def __init__(self, resolution: orchestrator_pb2.ConflictResolution) -> None:
        config = resolution.retry_config
        self._conditions = frozenset(resolution.retry_conditions)
        self._retries_final = resolution.retry_enabled
        self._waits = resolution.retry_enabled or not resolution.HasField("retry_enabled")
        self._bound = config.max_retries if config.HasField("max_retries") else None
        self._initial = _seconds(config, "initial_backoff", _DEFAULT_INITIAL)
        self._longest = _seconds(config, "max_backoff", _DEFAULT_LONGEST)
        self._multiplier = (
            config.multiplier if config.HasField("multiplier") else _DEFAULT_MULTIPLIER
        )
        self.skips = resolution.continue_on_error

    def repeats(self, error: OnexError, failure: Failure, attempts: int) -> bool:
        """Return True where a step is sent again that has failed so, after so many attempts.

        An unknown outcome is never repeated, whatever the conditions say: the effect may have
        happened.
        """
        if isinstance(error, OutcomeUnknownError):
            return False
        named = bool(self._conditions & {reason_of(error), error.status.name})
        if failure is Failure.DELAYS:
            bounded = self._bound is not None and (named or not self._conditions)
            return self._waits and not (bounded and attempts > (self._bound or 0))
        bound = _DEFAULT_RETRIES if self._bound is None else self._bound
        return self._retries_final and named and attempts <= bound

    def wait(self, error: OnexError, repeat: int) -> float:
        """Return the seconds to wait before a repeat, counted from 1 since the last wait that a
        returning node has ended.
        """
        growth = self._multiplier ** min(repeat - 1, _MOST_GROWTH)
        wait = min(self._longest, self._initial * growth)
        # Equal jitter: half of the wait is certain, so that a repeat never comes at once.
        wait *= random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        return max(wait, min(error.retry_after or 0.0, _MOST_ASKED))


def _seconds(config: common_pb2.RetryPolicy, field: str, default: float) -> float:
    if not config.HasField(field):  # type: ignore[arg-type]
        return default
    duration = config.initial_backoff if field == "initial_backoff" else config.max_backoff
    return duration.ToNanoseconds() / 1e9
