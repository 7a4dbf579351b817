"""The W3C trace context header: reading it, writing it, and the ids in it
(https://www.w3.org/TR/trace-context-2/).
"""

from __future__ import annotations

import random
import re
from typing import Final, NamedTuple

_HEADER: Final = re.compile(
    "(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
_SAMPLED: Final = 1
_RANDOM: Final = 2
_ODD: Final = frozenset("13579bdf")
# Its own generator: a program that seeds the global one would repeat ids.
_bits: Final = random.Random().getrandbits  # noqa: S311 - ids, not secrets


class TraceParent(NamedTuple):
    """A place in a trace: ids as lower-case hexadecimal text."""

    trace_id: str
    span_id: str
    flags: int

    @property
    def sampled(self) -> bool:
        """Whether the caller records the trace."""
        return bool(self.flags & _SAMPLED)

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def parse(header: str) -> TraceParent | None:
    """The place that a header names; None for one that is absent or malformed, as the standard
    asks.
    """
    match = _HEADER.fullmatch(header)
    # Only a later version of the standard may say more than version 00 does.
    if match is None or (header.startswith("00") and len(header) != 55):
        return None
    return TraceParent(match[1], match[2], int(match[3], 16))


def is_sampled(header: str) -> bool:
    """Whether a header says that its trace is recorded; the cheap look before all else."""
    return header[-1:] in _ODD


def new_trace_id() -> str:
    """A fresh random trace id."""
    return f"{_bits(128) or 1:032x}"


def new_span_id() -> str:
    """A fresh random span id."""
    return f"{_bits(64) or 1:016x}"


def root(trace_id: str, *, sampled: bool) -> TraceParent:
    """The first place of a trace of our own, marked as random (level 2 of the standard)."""
    return TraceParent(trace_id, new_span_id(), _RANDOM | _SAMPLED if sampled else _RANDOM)


def child(parent: TraceParent, *, sampled: bool) -> TraceParent:
    """A place below another one of the same trace."""
    flags = parent.flags & ~_SAMPLED | (_SAMPLED if sampled else 0)
    return TraceParent(parent.trace_id, new_span_id(), flags)
