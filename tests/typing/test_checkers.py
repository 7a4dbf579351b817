"""Type checkers accept generated code and right uses of it, and refuse the wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class Said(Protocol):
        @property
        def file(self) -> Path: ...
        @property
        def line(self) -> int: ...
        @property
        def text(self) -> str: ...


# A cold cache makes the checkers read the whole SDK.
pytestmark = pytest.mark.timeout(180)

WRONG = Path(__file__).with_name("wrong.py")
MARK = "# wrong: "
CHECKERS = ("mypy", "pyright")


def said_by(request: pytest.FixtureRequest, checker: str) -> Sequence[Said]:
    said: Sequence[Said] = request.getfixturevalue(checker)
    return said


@pytest.mark.parametrize("checker", CHECKERS)
def test_generated_code_and_right_code_pass(request: pytest.FixtureRequest, checker: str) -> None:
    assert [each for each in said_by(request, checker) if each.file != WRONG] == []


@pytest.mark.parametrize("checker", CHECKERS)
def test_every_wrong_line_is_refused_and_no_other(
    request: pytest.FixtureRequest, checker: str
) -> None:
    # The mark stands above the line.
    lines = enumerate(WRONG.read_text().splitlines(), start=2)
    marked = {number: line for number, line in lines if MARK in line}
    assert len(marked) >= 12
    refused = {each.line: each.text for each in said_by(request, checker) if each.file == WRONG}
    assert marked.keys() == refused.keys(), refused
