"""The attempts of one step: repeated over outages, until the step ends."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from onex_grpc.action.outcome import Failure, failure_of
from onex_grpc.context import enter_call
from onex_grpc.contract.node import parse_target
from onex_grpc.errors import (
    DeadlineExceededError,
    NodeUnavailableError,
    OnexError,
    Status,
    TargetNotFoundError,
)
from onex_grpc.rpc.status import is_bare, reason_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from onex.v1 import common_pb2
    from onex_grpc.context import CallContext
    from onex_grpc.lease.keeper import HeldLease
    from onex_grpc.workflow.outage import Outage, Outages
    from onex_grpc.workflow.pending import Pending, PendingSteps
    from onex_grpc.workflow.policy import FailurePolicy

# Attempts in a row that timed out, or ended without an answer, while the node serves: that is a
# fault of the node, and no outage.
_MOST_UNANSWERED: Final = 5


class Attempts:
    """The attempts of one step under one lease.

    Attributes:
        seconds: how long the last one took.
    """

    def __init__(
        self,
        pending: Pending,
        steps: PendingSteps,
        *,
        held: HeldLease,
        policy: FailurePolicy,
        outages: Outages,
        context: Callable[[], CallContext],
    ) -> None:
        """Takes `context`, which makes the context of the next attempt."""
        self.seconds = 0.0
        self._pending = pending
        self._steps = steps
        self._held = held
        self._policy = policy
        self._outages = outages
        self._context = context
        self._outage: Outage | None = None
        self._unanswered = 0
        # Since the node last came back: the backoff begins anew then.
        self._repeats = 0

    async def run(self, send: Callable[[], Awaitable[common_pb2.Data]]) -> common_pb2.Data:
        """Send the step until it is answered.

        Raises:
            DeadlineExceededError: when the time of the step ran out; its context says whether its
                outcome is unknown.
            LeaseExpiredError, LeaseValidationError, LeaseRequiredError, StaleFenceError: when the
                right to work has ended.
            OnexError: the answer, where the policy does not repeat it.
        """
        left = self._pending.left()
        try:
            if left is None:
                return await self._repeat(send)
            limit = asyncio.timeout(left)
            try:
                async with limit:
                    return await self._repeat(send)
            except TimeoutError:
                if not limit.expired():
                    raise
            raise self._overdue()
        finally:
            if self._outage is not None:
                self._outages.leave(self._pending.target, self._outage)

    async def _repeat(self, send: Callable[[], Awaitable[common_pb2.Data]]) -> common_pb2.Data:
        woken = False
        while True:
            self._held.check()
            self._pending.send()
            enter_call(self._context())
            returns = self._outage.returns if self._outage is not None else 0
            started = time.perf_counter()
            try:
                if self._outage is None or not woken:
                    output = await send()
                else:
                    async with self._outage.turns:
                        output = await send()
            except OnexError as error:
                self.seconds = time.perf_counter() - started
                failure = await self._failure(error)
                if failure is Failure.ENDS_TERM:
                    raise
                if not self._policy.repeats(error, failure, self._pending.attempts):
                    raise
                self._repeats += 1
                wait = self._policy.wait(error, self._repeats)
                self._steps.fail(self._pending, error, wait)
                if failure is Failure.DELAYS:
                    woken = await self._wait(error, returns, wait)
                else:
                    await asyncio.sleep(wait)
            else:
                self.seconds = time.perf_counter() - started
                return output

    async def _failure(self, error: OnexError) -> Failure:
        failure = failure_of(error)
        target = self._pending.target
        if isinstance(error, TargetNotFoundError) and self._outages.lacks(target):
            # This process itself does not find the node: it has left, or is not back yet.
            return Failure.DELAYS
        if failure is not Failure.DELAYS:
            return failure
        if not (is_bare(error) or error.status is Status.DEADLINE_EXCEEDED):
            self._unanswered = 0
            return failure
        self._unanswered = self._unanswered + 1 if await self._outages.serves(target) else 0
        return Failure.PAUSES if self._unanswered >= _MOST_UNANSWERED else failure

    async def _wait(self, error: OnexError, returns: int, seconds: float) -> bool:
        """Wait for the node's return, or so many seconds; True for a return."""
        if self._outage is None:
            self._outage = self._outages.follow(self._pending.target)
            returns = self._outage.returns
        if isinstance(error, NodeUnavailableError) and not error.node:
            self._outage.doubt()
        woken = await self._outage.returned(returns, seconds)
        if woken:
            self._repeats = 0
        return woken

    def _overdue(self) -> DeadlineExceededError:
        pending = self._pending
        context = {"step_id": pending.step_id, "attempts": str(pending.attempts)}
        if pending.attempts and parse_target(pending.target).kind in ("effect", "reducer"):
            # It may have been done, by an attempt whose answer did not come.
            context["outcome_unknown"] = "true"
        last = "" if pending.error is None else f"; the last attempt: {reason_of(pending.error)}"
        return DeadlineExceededError(
            f"step {pending.step_id} did not end within its time, after {pending.attempts}"
            f" attempts at {pending.target}{last}; give it more with `within`",
            context=context,
            causes=() if pending.error is None else (pending.error,),
        )
