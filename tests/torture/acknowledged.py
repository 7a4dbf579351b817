"""What a writer says that it was told: one line per answer, in a file that outlives it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from pathlib import Path


class Saved(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A change of a state was committed; `content` is its bytes' checksum."""

    key: str
    version: int
    content: int


class Leased(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A lease was granted."""

    workflow: str
    fence: int


class Released(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A lease was ended, by itself or with a commit."""

    workflow: str
    fence: int


class Published(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """An event was added to the log."""

    event_id: str
    sequence: int


class Claimed(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """An intent was handed out for its n-th attempt."""

    intent_id: str
    attempt: int


class Done(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """An intent ended: completed or, where `dead`, buried."""

    intent_id: str
    dead: bool


class Failed(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The final failure of an action was recorded."""

    action_id: str


class Recorded(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The outcome of a keyed effect was recorded."""

    key: str


Fact: TypeAlias = Saved | Leased | Released | Published | Claimed | Done | Failed | Recorded

_DECODER = msgspec.json.Decoder(Fact)


class Book:
    """The writer's side: what is noted is with the kernel, which a killed process cannot take
    along.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, fact: Fact) -> None:
        """Notes an answer at once."""
        os.write(self._file, msgspec.json.encode(fact) + b"\n")


def read_book(path: Path) -> list[Fact]:
    """What was noted before the writer died; a line that it had not finished does not count."""
    if not path.exists():
        return []
    return [
        _DECODER.decode(line)
        for line in path.read_bytes().splitlines(keepends=True)
        if line.endswith(b"\n")
    ]
