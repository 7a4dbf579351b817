"""Whether two guards can both be true, as far as their text alone proves it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TOKEN: Final = re.compile(
    r"""
    [bBrR]{0,2}(?:'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\"|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")
    | //[^\n]* | && | \|\| | [A-Za-z_][A-Za-z0-9_]* | [0-9][0-9A-Za-z.]* | [<>=!]= | \S
    """,
    re.VERBOSE | re.DOTALL,
)
_OPEN: Final = frozenset("([{")
_CLOSE: Final = frozenset(")]}")

_Tokens = tuple[str, ...]


def can_both_hold(one: str, other: str) -> bool:
    """Whether one guard's being true makes the other true in some case, so that both then are.

    Proved are guards of which one has all conditions of the other (`a` and `a && b`) or is one of
    its choices (`a` and `a || b`), and guards that are always true. All others are given the
    benefit of the doubt.
    """
    return any(a <= b or b <= a for a in _choices(_tokens(one)) for b in _choices(_tokens(other)))


def _choices(tokens: _Tokens) -> Iterator[frozenset[_Tokens]]:
    """The conditions, joined by `&&`, of each of the choices that `||` joins."""
    tokens = _bare(tokens)
    if "?" in tokens:
        yield frozenset([tokens])
        return
    for choice in _split(tokens, "||"):
        conditions = frozenset(_conditions(choice)) - {("true",)}
        never = any(("!", *condition) in conditions for condition in conditions)
        if not never and ("false",) not in conditions:
            yield conditions


def _conditions(tokens: _Tokens) -> Iterator[_Tokens]:
    parts = _split(_bare(tokens), "&&")
    if len(parts) == 1:
        yield from parts
        return
    for part in parts:
        yield from _conditions(part)


def _tokens(text: str) -> _Tokens:
    return tuple(token for token in _TOKEN.findall(text) if not token.startswith("//"))


def _bare(tokens: _Tokens) -> _Tokens:
    while len(tokens) > 2 and tokens[0] == "(" and _end(tokens) == len(tokens) - 1:
        tokens = tokens[1:-1]
    return tokens


def _end(tokens: _Tokens) -> int:
    """Where what the first token opens is closed; past the end where it never is."""
    depth = 0
    for index, token in enumerate(tokens):
        depth += (token in _OPEN) - (token in _CLOSE)
        if not depth:
            return index
    return len(tokens)


def _split(tokens: _Tokens, operator: str) -> Sequence[_Tokens]:
    parts: list[list[str]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token in _OPEN) - (token in _CLOSE)
        if token == operator and not depth:
            parts.append([])
        else:
            parts[-1].append(token)
    return [tuple(part) for part in parts]
