"""Counts of the queue, kept as intents move: nobody has to walk over a queue to know its length."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onex_grpc.store.model import IntentState, PriorityStats, QueueStats, RouteStats
from onex_grpc.store.queue_rules import MOST_ROUTES_SHOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Counts = dict[tuple[int, int, str], int]
"""How many, by state, priority and, of those that are pending, route."""


def count_key(state: IntentState, priority: int, route: str) -> tuple[int, int, str]:
    """What an intent is counted under: its route matters only as long as it is pending."""
    return int(state), priority, route if state is IntentState.PENDING else ""


@dataclass(slots=True)
class Tally:
    """What a transaction has changed of the counts."""

    changed: Counts = field(default_factory=dict)

    def add(self, state: IntentState, priority: int, route: str, count: int = 1) -> None:
        """Counts intents that are new in this state."""
        key = count_key(state, priority, route)
        self.changed[key] = self.changed.get(key, 0) + count

    def move(self, before: IntentState, after: IntentState, priority: int, route: str = "") -> None:
        """Counts an intent that goes from one state to another; one of them being PENDING, its
        route is needed.
        """
        self.add(before, priority, route, -1)
        self.add(after, priority, route)

    def rows(self) -> list[tuple[int, int, str, int]]:
        """State, priority, route and difference, in one order for all who write."""
        return sorted((*key, count) for key, count in self.changed.items() if count)


def pending_routes(counts: Iterable[tuple[int, int, str, int]]) -> list[str]:
    """The routes on which anything is pending, of rows of state, priority, route and count."""
    pending = (route for state, _, route, count in counts if state == IntentState.PENDING and count)
    return sorted(set(pending))


def queue_stats(
    counts: Iterable[tuple[int, int, str, int]],
    oldest: Iterable[tuple[str, int, int]],
    now_us: int,
) -> QueueStats:
    """The figures of the queue.

    Args:
        counts: rows of state, priority, route and count.
        oldest: rows of route, priority, and when a pending intent of both was emitted.
        now_us: the store's time.
    """
    by: dict[tuple[int, int], int] = {}
    pending: dict[str, int] = {}
    for state, priority, route, count in counts:
        by[state, priority] = by.get((state, priority), 0) + count
        if state == IntentState.PENDING:
            pending[route] = pending.get(route, 0) + count
    of_route: dict[str, int] = {}
    of_priority: dict[int, int] = {}
    for route, priority, emitted_us in oldest:
        age = max(0, now_us - emitted_us)
        of_route[route] = max(age, of_route.get(route, 0))
        of_priority[priority] = max(age, of_priority.get(priority, 0))
    return QueueStats(
        pending=_total(by, IntentState.PENDING),
        in_flight=_total(by, IntentState.IN_FLIGHT),
        completed=_total(by, IntentState.COMPLETED),
        dead=_total(by, IntentState.DEAD),
        cancelled=_total(by, IntentState.CANCELLED),
        oldest_pending_us=max(of_priority.values(), default=None),
        priorities=_priorities(by, of_priority),
        routes=_routes(pending, of_route),
    )


def _priorities(
    by: Mapping[tuple[int, int], int], ages: Mapping[int, int]
) -> Sequence[PriorityStats]:
    each = (
        PriorityStats(
            priority,
            by.get((IntentState.PENDING, priority), 0),
            by.get((IntentState.IN_FLIGHT, priority), 0),
            ages.get(priority),
        )
        for priority in sorted({priority for _, priority in by})
    )
    return [row for row in each if row.pending or row.in_flight]


def _routes(pending: Mapping[str, int], ages: Mapping[str, int]) -> Sequence[RouteStats]:
    each = (RouteStats(route, count, ages.get(route)) for route, count in pending.items())
    return sorted((row for row in each if row.pending), key=_longest_first)[:MOST_ROUTES_SHOWN]


def _longest_first(row: RouteStats) -> tuple[int, str]:
    return 1 if row.oldest_pending_us is None else -row.oldest_pending_us, row.route


def _total(by: Mapping[tuple[int, int], int], state: IntentState) -> int:
    return sum(count for (of, _), count in by.items() if of == state)
