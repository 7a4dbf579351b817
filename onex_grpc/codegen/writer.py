"""Text of a Python module, line by line."""

from __future__ import annotations

import re
from contextlib import contextmanager
from textwrap import TextWrapper
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WIDTH: Final = 100
_STEP: Final = "    "
_QUOTES: Final = re.compile(r'"{3,}')
_LAST_QUOTES: Final = re.compile(r'(?<!")"{1,2}\Z')
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_WORDS: Final = re.compile(r"\s*\S+\s*$|\s*\S+|\s+")


class Writer:
    """Lines of a Python module with their indent."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._indent = ""

    def line(self, text: str = "") -> None:
        """Adds one line; an empty one has no indent."""
        self._lines.append(f"{self._indent}{text}" if text else "")

    def blank(self, count: int) -> None:
        """Adds empty lines."""
        self._lines.extend([""] * count)

    @contextmanager
    def indented(self) -> Iterator[None]:
        """Lines written meanwhile are one step further in."""
        outside = self._indent
        self._indent = outside + _STEP
        try:
            yield
        finally:
            self._indent = outside

    def listed(self, head: str, items: Sequence[str], tail: str) -> None:
        """Adds `head`, the items with commas between them, `tail`.

        On one line if they fit, else all items on the next one, else one item a line. A bare `*`
        among the items belongs to the one after it.
        """
        within = ", ".join(items)
        if self._fits(f"{head}{within}{tail}"):
            self.line(f"{head}{within}{tail}")
            return
        self.line(head)
        with self.indented():
            if head.startswith(("def ", "async def ")) and self._fits(within):
                self.line(within)
            else:
                for item in items:
                    self.block(f"{item},")
        self.line(tail)

    def block(self, text: str) -> None:
        """Adds text of one or more lines, each further in by the indent."""
        for line in text.split("\n"):
            self.line(line)

    def doc(self, text: str) -> None:
        """Adds a docstring; what would end or escape it is escaped.

        Args:
            text: one or more lines, without surrounding empty ones.
        """
        safe = _QUOTES.sub(_escaped_run, text.replace("\\", "\\\\"))
        safe = _CONTROL.sub(_escaped_run, safe)
        first, *rest = [part for line in safe.split("\n") for part in self._wrapped(line)]
        if not rest:
            end = _LAST_QUOTES.search(text)
            if end:
                first = first[: end.start() - end.end()] + _escaped_run(end)
            self.line(f'"""{first}"""')
            return
        self.line(f'"""{first}')
        for line in rest:
            self.line(line)
        self.line('"""')

    def text(self) -> str:
        """The module's text so far."""
        return "\n".join(self._lines) + "\n"

    def _wrapped(self, line: str) -> Sequence[str]:
        # Three columns less, for the quotes before the first line.
        width = _WIDTH - len(self._indent) - 3
        start = line[: len(line) - len(line.lstrip())]
        wrapper = TextWrapper(
            width, subsequent_indent=start, break_long_words=False, break_on_hyphens=False
        )
        return wrapper.wrap(line) or [""]

    def _fits(self, text: str) -> bool:
        return "\n" not in text and len(self._indent) + len(text) <= _WIDTH


def exploded(head: str, items: Sequence[str], tail: str) -> str:
    """A call whose arguments stand one a line, for use as an item of `Writer.listed`."""
    inner = Writer()
    inner.line(head)
    with inner.indented():
        for item in items:
            inner.block(f"{item},")
    inner.line(tail)
    return inner.text().removesuffix("\n")


def quoted(text: str, room: int) -> str:
    """A text as Python source: in parts of whole words in brackets where it is longer than room."""
    if len(text) <= room:
        return quote(text)
    parts = [""]
    for word in _WORDS.findall(text):
        if parts[-1] and len(parts[-1]) + len(word) > room:
            parts.append("")
        parts[-1] += word
    inner = Writer()
    inner.line("(")
    with inner.indented():
        for part in parts:
            inner.line(quote(part))
    inner.line(")")
    return inner.text().removesuffix("\n")


def strings(values: Sequence[str]) -> str:
    """A tuple of texts as Python source, on one line if it is short."""
    quoted = [quote(value) for value in values]
    if not quoted:
        return "()"
    flat = ", ".join(quoted) + ("," if len(quoted) == 1 else "")
    return f"({flat})" if len(flat) < _WIDTH - 24 else exploded("(", quoted, ")")


def quote(text: str) -> str:
    """A text as Python source in double quotes, printable ASCII whatever it holds."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped_run(run: re.Match[str]) -> str:
    return "".join(map(_escaped, run[0]))


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if " " <= char <= "~" else ascii(char)[1:-1]
