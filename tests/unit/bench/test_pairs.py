"""The interval of a median ratio, the verdict on it, and the file that keeps pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.pairs.interval import FEWEST, median_interval
from bench.pairs.ledger import Ledger, Pair

if TYPE_CHECKING:
    from pathlib import Path


# As the table of J.-Y. Le Boudec, Performance Evaluation of Computer and Communication Systems,
# annex A, has them: the ranks of both ends by the number of values.
@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(6, 1, 6), (10, 2, 9), (20, 6, 15), (30, 10, 21), (50, 18, 33), (100, 40, 61)],
)
def test_the_interval_runs_between_the_ranks_of_the_tables(count: int, low: int, high: int) -> None:
    interval = median_interval([float(rank) for rank in range(count, 0, -1)])
    assert (interval.pairs, interval.low, interval.high) == (count, low, high)
    assert interval.median == (count + 1) / 2


def test_too_few_values_have_no_interval() -> None:
    with pytest.raises(ValueError, match="at least 6"):
        median_interval([1.0] * (FEWEST - 1))


@given(st.lists(st.floats(0.01, 100), min_size=FEWEST, max_size=300))
def test_the_median_lies_within_and_order_does_not_matter(values: list[float]) -> None:
    interval = median_interval(values)
    assert interval.low <= interval.median <= interval.high
    assert median_interval(values[::-1]) == interval


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([0.99, 1.00, 1.01], "ok"),
        ([0.95, 0.96, 0.98], "ok"),
        ([0.90, 0.93, 0.96], "below"),
        ([0.50, 0.80, 0.96], "below"),
        ([0.90, 1.00, 1.10], "wide"),
    ],
)
def test_verdicts(ratios: list[float], verdict: str) -> None:
    assert median_interval(ratios * 2).verdict == verdict


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    file = tmp_path / "pairs.json"
    first = Ledger("a", "b", file)
    for number in range(FEWEST):
        first.add("call/1pct/c1", Pair(90.0 + number, 100.0))
    first.save()
    second = Ledger("a", "b", file)
    assert second.pairs == first.pairs
    assert second.count("call/1pct/c1") == FEWEST
    assert second.count("call/1pct/c64") == 0
    assert second.interval("call/1pct/c1").high == 0.95


def test_pairs_of_other_sides_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "pairs.json"
    Ledger("a", "b", file).save()
    with pytest.raises(SystemExit, match="holds pairs of a against b"):
        Ledger("c", "b", file)
    file.write_text("{")
    with pytest.raises(SystemExit, match="name another file"):
        Ledger("a", "b", file)
