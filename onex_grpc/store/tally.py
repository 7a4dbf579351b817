"""Counts of the queue, kept as intents move: nobody has to walk over a queue to know its length."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onex_grpc.store.model import IntentState, PriorityStats, QueueStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Counts = dict[tuple[int, int], int]
"""How many, by state and priority."""


@dataclass(slots=True)
class Tally:
    """What a transaction has changed of the counts."""

    changed: Counts = field(default_factory=dict)

    def add(self, state: IntentState, priority: int, count: int = 1) -> None:
        """Counts intents that are new in this state."""
        key = (state.value, priority)
        self.changed[key] = self.changed.get(key, 0) + count

    def move(self, before: IntentState, after: IntentState, priority: int) -> None:
        """Counts an intent that goes from one state to another."""
        self.add(before, priority, -1)
        self.add(after, priority)

    def rows(self) -> list[tuple[int, int, int]]:
        """State, priority and difference, in one order for all who write."""
        return sorted((*key, count) for key, count in self.changed.items() if count)


def queue_stats(
    counts: Iterable[tuple[int, int, int]], since: Mapping[int, int | None], now_us: int
) -> QueueStats:
    """The figures of the queue.

    Args:
        counts: rows of state, priority and count.
        since: when the pending intent of each priority that has waited longest was emitted.
        now_us: the store's time.
    """
    by: Counts = {}
    for state, priority, count in counts:
        by[state, priority] = by.get((state, priority), 0) + count
    ages = {p: max(0, now_us - at) for p, at in since.items() if at is not None}
    priorities = [
        PriorityStats(
            priority,
            by.get((IntentState.PENDING, priority), 0),
            by.get((IntentState.IN_FLIGHT, priority), 0),
            ages.get(priority),
        )
        for priority in sorted({priority for _, priority in by})
    ]
    return QueueStats(
        pending=_total(by, IntentState.PENDING),
        in_flight=_total(by, IntentState.IN_FLIGHT),
        completed=_total(by, IntentState.COMPLETED),
        dead=_total(by, IntentState.DEAD),
        cancelled=_total(by, IntentState.CANCELLED),
        oldest_pending_us=max(ages.values(), default=None),
        priorities=[row for row in priorities if row.pending or row.in_flight],
    )


def _total(by: Counts, state: IntentState) -> int:
    return sum(count for (of, _), count in by.items() if of == state)
