from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex_grpc.codegen.check_overlap import can_both_hold


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a == 1", "a==1"),
        ("a", "a && b"),
        ("a && b", "b && c && a"),
        ("(a && b)", "((a) && b)"),
        ("a || b", "b"),
        ("a || b", "b && c"),
        ("true", "a"),
        ("a // always", "a"),
        ("x.exists(i, i > 0 && i < 9)", "x.exists(i, i>0 && i<9) && b"),
        ("a == 'x && y'", "a == 'x && y' && b"),
        ("a ? b : c && d", "a ? b : c && d"),
    ],
)
def test_guards_of_which_one_has_all_conditions_of_the_other_overlap(one: str, other: str) -> None:
    assert can_both_hold(one, other)
    assert can_both_hold(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "!a"),
        ("a > 1", "a <= 1"),
        ("a == 1", "a == 2"),
        ("a && b", "a && !b"),
        ("a && b", "a && c"),
        ("a || b", "c"),
        ("false", "a"),
        ("a == 'x && y'", "a == 'x'"),
        ("a ? b : c && d", "d"),
        ("x.all(i, i > 0 && b)", "b"),
        ("a && !a", "a"),
    ],
)
def test_others_are_given_the_benefit_of_the_doubt(one: str, other: str) -> None:
    assert not can_both_hold(one, other)
    assert not can_both_hold(other, one)


LITERALS = ("a", "b", "c", "!a", "!b", "!c")
CHOICES = st.lists(
    st.lists(st.sampled_from(LITERALS), min_size=1, max_size=4, unique=True),
    min_size=1,
    max_size=3,
)


@given(CHOICES, CHOICES)
def test_what_is_said_to_overlap_is_true_together_for_some_values(
    one: list[list[str]], other: list[list[str]]
) -> None:
    if can_both_hold(_text(one), _text(other)):
        cases = [dict(zip("abc", values, strict=True)) for values in product([0, 1], repeat=3)]
        assert any(_holds(one, case) and _holds(other, case) for case in cases)


def _text(choices: list[list[str]]) -> str:
    return " || ".join(" && ".join(literals) for literals in choices)


def _holds(choices: list[list[str]], case: dict[str, int]) -> bool:
    return any(all(case[x[-1]] != x.startswith("!") for x in literals) for literals in choices)
