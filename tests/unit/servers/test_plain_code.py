"""The sample's nodes are the page that users read first: short, and typed by their contracts."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SERVERS = Path(__file__).parents[3] / "servers"
NODES = ("compute.py", "effect.py", "reducer.py", "orchestrator.py")
UNTYPED = frozenset({"Any", "cast", "dict", "Dict", "Mapping", "object", "getattr", "setattr"})


def untyped(source: str) -> list[str]:
    """What goes by the types of the contract, with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Dict() | ast.DictComp():
                found.append(f"{node.lineno}: a dict")
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                if name in UNTYPED:
                    found.append(f"{node.lineno}: {name}")
    lines = enumerate(source.splitlines(), start=1)
    return found + [f"{number}: an ignored error" for number, line in lines if "type: ig" in line]


@pytest.mark.parametrize("name", NODES)
def test_a_node_of_the_sample_has_no_dict_any_or_cast(name: str) -> None:
    assert untyped((SERVERS / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", NODES)
def test_a_node_of_the_sample_fits_on_a_page(name: str) -> None:
    assert len((SERVERS / name).read_text(encoding="utf-8").splitlines()) < 80


@pytest.mark.parametrize(
    "line",
    [
        "from typing import cast",
        "x: typing.Any = 1",
        "order = {'id': 1}",
        "def f(values: dict[str, int]) -> None: ...",
        "found = {name: 1 for name in names}",
        "x = y  # type: ignore[misc]",
    ],
)
def test_what_goes_by_the_types_is_found(line: str) -> None:
    assert untyped(line)
