"""How many rows a page asks for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onex_grpc.store.portion import Portion

MOST, SIZE = 32, 1000


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=200))
def test_a_page_is_bounded_by_the_largest_row_of_the_one_before(sizes: list[int]) -> None:
    portion = Portion(MOST, SIZE)
    asked = portion.rows
    assert asked < MOST
    while sizes:
        page, sizes = sizes[:asked], sizes[asked:]
        portion.learn(page)
        # It may double, if the rows were small; one row is asked for however large it is.
        assert 1 <= portion.rows <= min(MOST, max(1, SIZE // max(*page, 1)), 2 * asked + 1)
        asked = portion.rows


def test_small_rows_are_read_many_at_a_time() -> None:
    portion = Portion(MOST, SIZE)
    for _ in range(10):
        portion.learn([1])
    assert portion.rows == MOST


def test_no_rows_teach_nothing() -> None:
    portion = Portion(MOST, SIZE)
    before = portion.rows
    portion.learn([])
    assert portion.rows == before
