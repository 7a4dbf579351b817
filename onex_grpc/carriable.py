"""Values that an error can carry: made from anything at all, bounded, and fit for protobuf,
headers, JSON and log lines.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable

Given = TypeVar("Given")
Held = TypeVar("Held")

MOST_TEXT: Final = 8 * 1024
"""Bytes of an error's message at most."""
MOST_FACTS: Final = 32
"""Entries of a context at most."""
MOST_KEY: Final = 128
MOST_VALUE: Final = 1024
MOST_NAME: Final = 128
"""Bytes of a reason, an id or the name of a node at most."""
LONGEST: Final = 10 * 365 * 86_400.0
"""Seconds of a `retry_after` at most."""

_CUT: Final = "…"
MORE_FACTS: Final = (_CUT, "more was left out")
"""The entry of a context that stands for all that are too many."""


def text(value: object, limit: int = MOST_TEXT) -> str:
    """Return a value as text of at most `limit` bytes of UTF-8; text that was cut ends with `…`.

    Lone surrogates, which undecodable file names consist of, and NUL are escaped with a backslash.
    """
    plain = value if type(value) is str else _said(value, limit)
    if len(plain) <= limit and plain.isascii() and "\0" not in plain:
        return plain
    # A character has one byte at least, so that the limit may be applied to both.
    raw = plain[: limit + 1].replace("\0", "\\x00").encode(errors="backslashreplace")
    if len(raw) <= limit:
        return raw.decode()
    return raw[: limit - len(_CUT.encode())].decode(errors="ignore") + _CUT


def _said(value: object, limit: int) -> str:
    try:
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, bytes | bytearray):
            return bytes(value[: limit + 1]).decode(errors="backslashreplace")
        return str.__str__(str(value))
    except Exception:
        # The value's own code fails; its type is all that can be told.
        return f"({type(value).__name__}, which cannot be shown)"


def name(value: object) -> str:
    """Return a name or an id as text."""
    return text(value or "", MOST_NAME)


def facts(value: object) -> dict[str, str]:
    """Return a mapping as one from text to text; an entry stands for those that are too many."""
    if value is None:
        return {}
    try:
        found = value if isinstance(value, Mapping) else dict(value or ())  # type: ignore[call-overload]
        pairs = list(islice(found.items(), MOST_FACTS + 1))
        count = len(found)
    except Exception:
        # No mapping, or one whose own code fails.
        return {"context": text(value, MOST_VALUE)}
    if count > MOST_FACTS:
        pairs[MOST_FACTS - 1 :] = [MORE_FACTS]
    return {text(key, MOST_KEY): text(fact, MOST_VALUE) for key, fact in pairs}


def seconds(value: object) -> float | None:
    """Return a duration in seconds, from 0 to ten years; None for a value that is no duration."""
    if value is None:
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        return LONGEST
    except Exception:
        return None
    return None if math.isnan(number) else min(max(0.0, number), LONGEST)


class Carried(Generic[Given, Held]):
    """An attribute that holds only what can be carried, whatever is assigned to it.

    Args:
        make: makes a value that can be carried from any.
        unset: gives the value of an object that was made without its class's `__init__`.
    """

    def __init__(
        self, make: Callable[[object], Held], unset: Callable[[object], object] = lambda owner: None
    ) -> None:
        self._make = make
        self._unset = unset
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: object, kind: type) -> Held: ...
    def __get__(self, owner: object, kind: type) -> Self | Held:
        if owner is None:
            return self
        held = vars(owner)
        if self._name not in held:
            held[self._name] = self._make(self._unset(owner))
        value: Held = held[self._name]
        return value

    def __set__(self, owner: object, value: Given) -> None:
        vars(owner)[self._name] = self._make(value)


def some(values: object, limit: int) -> list[object]:
    """Return the first items of an iterable, `limit` at most; no items for what is no iterable."""
    if type(values) is tuple and not values:
        return []
    try:
        return list(islice(values, limit)) if isinstance(values, Iterable) else []
    except Exception:
        return []
