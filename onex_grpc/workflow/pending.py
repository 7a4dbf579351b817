"""The steps of one term that were sent and have not ended: told, and kept over restarts.

A step is recorded at its first failure, then at most once in ten seconds, and one that takes long
after a second: one that just succeeds costs no write.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from onex_grpc.errors import OnexError
from onex_grpc.rpc.status import error_detail, reason_of
from onex_grpc.store.model import PendingStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.model import Guard
    from onex_grpc.store.protocol import StateStore

_log = logging.getLogger(__name__)
_SLOW: Final = 1.0
"""Seconds after which a step that is under way is recorded."""
_EVERY: Final = 10.0
"""Seconds between two records of one step."""
_TOLD_EVERY: Final = 60.0
"""Seconds between two warnings about one step."""
_FORGET_AFTER: Final = 1.0
"""Seconds after which a step that has ended is forgotten: its result is durable by then."""
_MOST_NAMED: Final = 3


@dataclass(slots=True, eq=False)
class Pending:
    """One step that is under way; times are seconds of time.monotonic().

    Attributes:
        action_id: UUID of the step's action.
        step_id: the step's id.
        target: the node that does it, as `kind/name`.
        issued_us: when it was first sent, in microseconds since the Unix epoch.
        attempts: how often it was sent, under earlier leases, too.
        resent: it was, or may have been, sent before this attempt.
        ends_at: when it fails for good; None without such a bound.
        error: with what the last attempt failed.
        retry_at: when it is sent again; None while an attempt is under way.
    """

    action_id: str
    step_id: str
    target: str
    issued_us: int
    attempts: int
    resent: bool
    ends_at: float | None
    error: OnexError | None = None
    retry_at: float | None = None
    _began_at: float = field(default_factory=time.monotonic)
    _recorded_at: float | None = None
    _told_at: float | None = None
    _is_recorded: bool = False

    def send(self) -> None:
        """Count an attempt."""
        self.resent = self.resent or self.attempts > 0
        self.attempts += 1
        self.retry_at = None

    def left(self) -> float | None:
        """Return the seconds until the step fails for good; None without a bound."""
        return None if self.ends_at is None else self.ends_at - time.monotonic()

    def due_at(self) -> float | None:
        """Return when the step is to be recorded; None where the record is up to date."""
        if self._recorded_at is None:
            return self._began_at + _SLOW if self.error is None else self._began_at
        return None if self._is_recorded else self._recorded_at + _EVERY

    def record(self) -> PendingStep:
        """Return the step as the store keeps it, which counts as recorded from now on."""
        self._recorded_at, self._is_recorded = time.monotonic(), True
        return PendingStep(
            action_id=self.action_id,
            step_id=self.step_id,
            target=self.target,
            attempts=self.attempts,
            issued_us=self.issued_us,
            left_us=_microseconds(self.ends_at),
            retry_us=_microseconds(self.retry_at),
            error=b"" if self.error is None else error_detail(self.error).SerializeToString(),
        )

    def fail(self, error: OnexError, wait: float) -> None:
        """Note why an attempt failed, and that the next one is made after so many seconds."""
        self.error, self._is_recorded = error, False
        self.retry_at = time.monotonic() + wait

    def is_untold(self) -> bool:
        """Return True once a minute."""
        now = time.monotonic()
        if self._told_at is not None and now < self._told_at + _TOLD_EVERY:
            return False
        self._told_at = now
        return True

    def known(self) -> bool:
        """Return True where the store has a record of the step."""
        return self._recorded_at is not None

    def keep(self) -> None:
        """Note that the store has a record of the step from an earlier term."""
        self._recorded_at, self._is_recorded = time.monotonic() - _EVERY, True

    def __str__(self) -> str:
        text = f"step {self.step_id} at {self.target} (attempt {self.attempts}"
        if self.error is None:
            return f"{text})"
        return f"{text}; the last one: {reason_of(self.error)}: {self.error.message:.200})"


class PendingSteps:
    """The steps that are under way in one term of a workflow.

    Args:
        store: keeps them.
        guard: the lease of the term.
        known: what earlier terms have recorded.
        maybe_sent_us: the time, in microseconds since the Unix epoch, after which an earlier term
            may have sent steps without a record of it; None for the first term.
    """

    def __init__(
        self,
        store: StateStore,
        guard: Guard,
        known: Sequence[PendingStep] = (),
        maybe_sent_us: int | None = None,
    ) -> None:
        self._store = store
        self._guard = guard
        self._known = {step.action_id: step for step in known}
        self._maybe_sent_us = maybe_sent_us
        self._under_way: dict[str, Pending] = {}
        self._ended: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._wake_at = 0.0
        self._writing: asyncio.Task[None] | None = None

    def begin(self, action_id: str, step_id: str, target: str, within: float | None) -> Pending:
        """Take up a step, with what is on record of it; `within` bounds it, in seconds."""
        now = time.monotonic()
        known = self._known.pop(action_id, None)
        if known is not None:
            left = None if known.left_us is None else known.left_us / 1e6
            ends_at = None if left is None else now + left
            pending = Pending(
                action_id, step_id, target, known.issued_us, known.attempts, True, ends_at
            )
            pending.keep()
        else:
            ends_at = None if within is None else now + within
            issued_us, resent = time.time_ns() // 1000, False
            if self._maybe_sent_us is not None:
                issued_us, resent = min(issued_us, self._maybe_sent_us), True
            pending = Pending(action_id, step_id, target, issued_us, 0, resent, ends_at)
        self._under_way[action_id] = pending
        self._wake(now + _SLOW)
        return pending

    def fail(self, pending: Pending, error: OnexError, wait: float) -> None:
        """Note that a step is sent again after so many seconds, and why."""
        pending.fail(error, wait)
        if pending.is_untold():
            _log.warning(
                "workflow %s waits: %s; next try in %.1f s",
                self._guard.workflow_id,
                pending,
                wait,
                extra={"correlation_id": error.correlation_id},
            )
        due = pending.due_at()
        if due is not None:
            self._wake(due)

    def end(self, pending: Pending) -> None:
        """Note that a step has ended."""
        del self._under_way[pending.action_id]
        # What follows on a step of this term was not sent by an earlier one.
        self._maybe_sent_us = None
        if pending.known():
            self._ended.append(pending.action_id)
            self._wake(time.monotonic() + _FORGET_AFTER)

    def leave(self, pending: Pending) -> None:
        """Note that this term has nothing more to do with a step, which has not ended."""
        del self._under_way[pending.action_id]

    def __str__(self) -> str:
        named = sorted(self._under_way.values(), key=lambda step: step.error is None)
        text = ", ".join(map(str, named[:_MOST_NAMED]))
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        return f"it waits for {text}{more}" if named else "no step is under way"

    async def close(self) -> None:
        """Stop recording; forget the steps that have ended."""
        if self._timer is not None:
            self._timer.cancel()
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        if self._ended:
            await self._write([])

    def _wake(self, at: float) -> None:
        if self._timer is not None:
            if self._wake_at <= at:
                return
            self._timer.cancel()
        self._wake_at = at
        delay = max(0.0, at - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._writing is not None and not self._writing.done():
            self._wake(time.monotonic() + _SLOW)
            return
        now = time.monotonic()
        waiting = [(step, at) for step in self._under_way.values() if (at := step.due_at())]
        records = [step.record() for step, at in waiting if at <= now]
        later = min((at for _, at in waiting if at > now), default=None)
        if records or self._ended:
            self._writing = asyncio.create_task(self._write(records))
        if later is not None:
            self._wake(later)

    async def _write(self, records: Sequence[PendingStep]) -> None:
        ended, self._ended = self._ended, []
        try:
            await self._store.record_pending(self._guard, records, ended)
        except OnexError as error:
            # A lost lease is met by the step itself; a store that is away, at the next record.
            _log.debug("pending steps of %s: %s", self._guard.workflow_id, error)


def _microseconds(at: float | None) -> int | None:
    return None if at is None else max(0, round((at - time.monotonic()) * 1e6))
