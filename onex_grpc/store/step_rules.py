"""How a store keeps pending steps, free of any database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from onex_grpc.store.model import PendingStep

if TYPE_CHECKING:
    from collections.abc import Iterable

_LAST_US: Final = 2**63 - 1


class StepRow(NamedTuple):
    """A pending step with instants of the store's clock in place of durations, in the order of the
    columns.
    """

    workflow_id: str
    action_id: str
    step_id: str
    target: str
    attempts: int
    issued_us: int
    due_us: int | None
    retry_at_us: int | None
    error: bytes

    def at(self, now_us: int) -> PendingStep:
        """Return the step as it is at that time."""
        return PendingStep(
            self.action_id,
            self.step_id,
            self.target,
            self.attempts,
            self.issued_us,
            _left(self.due_us, now_us),
            _left(self.retry_at_us, now_us),
            self.error,
        )


def rows_of(
    workflow_id: str, steps: Iterable[PendingStep], ended: Iterable[str], now_us: int
) -> list[StepRow]:
    """Return the rows to write, one for each action that has not ended."""
    over = set(ended)
    last = {step.action_id: step for step in steps}
    return [_row(workflow_id, step, now_us) for step in last.values() if step.action_id not in over]


def _row(workflow_id: str, step: PendingStep, now_us: int) -> StepRow:
    return StepRow(
        workflow_id,
        step.action_id,
        step.step_id,
        step.target,
        step.attempts,
        step.issued_us,
        _instant(now_us, step.left_us),
        _instant(now_us, step.retry_us),
        step.error,
    )


def _instant(now_us: int, after_us: int | None) -> int | None:
    # A bound of some 290,000 years is as good as any longer one, and is the longest that fits.
    return None if after_us is None else min(now_us + max(0, after_us), _LAST_US)


def _left(instant_us: int | None, now_us: int) -> int | None:
    return None if instant_us is None else max(0, instant_us - now_us)
