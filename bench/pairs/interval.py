"""The interval of a median, and the verdict on it."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from statistics import median
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

FEWEST: Final = 6
"""With fewer values no interval between two of them covers the median in 95 % of cases."""
LOWEST: Final = 0.97
WIDEST: Final = 0.10
_MISSED: Final = 0.025

Verdict = Literal["ok", "below", "wide"]


@dataclass(frozen=True, slots=True)
class Interval:
    """The median of ratios, and between which values the true one lies with 95 % confidence."""

    pairs: int
    median: float
    low: float
    high: float

    @property
    def is_wide(self) -> bool:
        """Return True where the interval says too little."""
        return self.high - self.low > WIDEST

    @property
    def verdict(self) -> Verdict:
        """Return `below` where all of the interval is, else `wide` where it is, else `ok`."""
        if self.high < LOWEST:
            return "below"
        return "wide" if self.is_wide else "ok"


def median_interval(values: Sequence[float]) -> Interval:
    """Return the median with its distribution-free interval of 95 %.

    The interval runs from the k-th smallest to the k-th largest value. It misses the true median
    exactly when fewer than k values lie on one side of it, and their number is binomial with p = ½
    whatever the distribution: k is the largest for which P(B < k) ≤ 2.5 % (W. J. Conover, Practical
    Nonparametric Statistics, 3rd ed., §3.2; H. A. David and H. N. Nagaraja, Order Statistics, 3rd
    ed., §7.1).

    Raises:
        ValueError: with fewer than `FEWEST` values.
    """
    count = len(values)
    if count < FEWEST:
        raise ValueError(f"{count} values have no such interval; take at least {FEWEST}")
    rank, missed = 0, 0.5**count
    while missed <= _MISSED:
        rank += 1
        missed += comb(count, rank) * 0.5**count
    ordered = sorted(values)
    return Interval(count, median(ordered), ordered[rank - 1], ordered[-rank])
