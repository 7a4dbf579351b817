"""Two sides of one comparison, measured in turns, and the goal that their ratio is to reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.closed_loop import Slice

Unit = Literal["per s", "ms"]


@dataclass(frozen=True, slots=True)
class Goal:
    """What a ratio is to be: at least this where it is one of rates, at most where of times."""

    bound: float
    unit: Unit

    def is_met(self, ratio: float) -> bool:
        """Whether a ratio reaches it."""
        return ratio >= self.bound if self.unit == "per s" else ratio <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.unit == 'per s' else '≤'} {self.bound:g}x"


@dataclass(slots=True)
class Comparison:
    """What the store does, beside what it is measured against.

    Attributes:
        name: its key in the JSON object.
        what: the two sides, in words.
        goal: of the ratio, ours divided by the other's.
        ours, theirs: each call takes one figure.
    """

    name: str
    what: str
    goal: Goal
    ours: Callable[[], Awaitable[float]]
    theirs: Callable[[], Awaitable[float]]
    _rounds: list[tuple[float, float]] = field(default_factory=list)

    async def warm_up(self) -> None:
        """Fills caches and prepares statements."""
        await self.theirs()
        await self.ours()

    async def measure(self) -> None:
        """One figure of each; who begins changes from round to round."""
        if len(self._rounds) % 2:
            ours = await self.ours()
            theirs = await self.theirs()
        else:
            theirs = await self.theirs()
            ours = await self.ours()
        self._rounds.append((ours, theirs))

    def ratio(self) -> float:
        """Ours divided by the other's of the same round; the median of the rounds."""
        return median(ours / theirs for ours, theirs in self._rounds)

    def is_met(self) -> bool:
        """Whether the ratio reaches its goal."""
        return self.goal.is_met(self.ratio())

    def medians(self) -> tuple[float, float]:
        """Ours and the other's figures."""
        ours, theirs = zip(*self._rounds, strict=True)
        return median(ours), median(theirs)


def per_s(taken: Slice) -> float:
    """Calls a second of a stretch."""
    return len(taken.latencies) / taken.seconds


def p50_ms(taken: Slice) -> float:
    """The median of a stretch's calls."""
    return median(taken.latencies) * 1e3
