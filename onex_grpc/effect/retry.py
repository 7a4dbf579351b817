"""Attempts of one effect, and their repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import stamina

from onex_grpc.action.outcome import may_pass
from onex_grpc.effect.operation import Progress, Repeat
from onex_grpc.errors import OnexError, OutcomeUnknownError
from onex_grpc.intent.backoff import Backoff

if TYPE_CHECKING:
    from onex.v1 import common_pb2
    from onex_grpc.effect.target import Outcome, Plan


_SEEN_BY_CALLERS: Final = frozenset({Repeat.OWN_KEY, Repeat.NEVER})
"""What happens twice when the caller repeats it."""


class Attempts:
    """The attempts of one effect.

    Attributes:
        count: how many were begun.
        last_error: why the last one failed; None before.
    """

    def __init__(self, plan: Plan, policy: common_pb2.RetryPolicy) -> None:
        self.count = 0
        self.last_error: OnexError | None = None
        self._plan = plan
        self._policy = policy
        self._progress: Progress | None = None
        self._may_be_done = False

    @property
    def outcome_unknown(self) -> bool:
        """Whether the effect may have happened, and happens again when the caller repeats it."""
        begun = self._progress is not None and self._progress.begun
        return (begun or self._may_be_done) and self._plan.repeat in _SEEN_BY_CALLERS

    @property
    def harmless(self) -> bool:
        """Done twice, the effect leaves the same result."""
        return self._plan.repeat is Repeat.HARMLESS

    @property
    def only_once(self) -> bool:
        """Whether nothing but one attempt may ever be made."""
        return self._plan.repeat is Repeat.NEVER

    async def run(self) -> Outcome:
        """The outcome, after repeats where they are wanted and harmless.

        Raises:
            OutcomeUnknownError: for a failure that may pass of an effect that may have happened.
            OnexError: that of the last attempt.
        """
        try:
            return await self._repeat()
        except OnexError as error:
            if may_pass(error) and self.outcome_unknown:
                raise OutcomeUnknownError(
                    "the effect may have happened; look at the target before you repeat it",
                    causes=(error,),
                ) from error
            raise

    async def _repeat(self) -> Outcome:
        if not self._policy.max_retries or self._plan.repeat is Repeat.NEVER:
            return await self._attempt()
        backoff = Backoff.of(self._policy)
        repeats = stamina.retry_context(
            on=_worth_repeating,
            attempts=self._policy.max_retries + 1,
            timeout=None,
            wait_initial=backoff.initial,
            wait_max=backoff.longest,
            wait_jitter=backoff.initial,
            wait_exp_base=backoff.multiplier,
        )
        async for attempt in repeats:
            with attempt:
                return await self._attempt()
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self) -> Outcome:
        self.count += 1
        self._progress = Progress()
        try:
            outcome = await self._plan.perform(self._progress)
        except OnexError as error:
            self.last_error = error
            self._may_be_done |= self._progress.begun and may_pass(error)
            # What failed is not under way any more.
            self._progress = None
            raise
        self._progress = None
        return outcome


def _worth_repeating(error: Exception) -> bool | float:
    if not isinstance(error, OnexError) or not may_pass(error):
        return False
    return True if error.retry_after is None else error.retry_after
