"""All that a store holds, read from its tables in one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from tests.torture.content import Content, checksum

if TYPE_CHECKING:
    from tests.torture.stores import Target

COMPLETED: Final = 5
DEAD: Final = 6

_STATEMENTS: Final = (
    "SELECT key, version FROM state",
    "SELECT s.key, h.version, h.fence, h.state FROM history h JOIN state s ON s.id = h.state_id "
    "ORDER BY h.state_id, h.version",
    "SELECT action_id, epoch, reply, error FROM action",
    "SELECT intent_id, state, attempts FROM intent",
    "SELECT seq, event_id, payload FROM event",
    "SELECT key, reply FROM outcome",
    "SELECT workflow_id, fence, expires_us FROM workflow",
    "SELECT count(*) FROM history WHERE state_id NOT IN (SELECT id FROM state)",
)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a key as history has it."""

    version: int
    fence: int
    content: Content
    checksum: int


@dataclass(frozen=True, slots=True)
class Action:
    """An action as it was recorded."""

    epoch: int
    reply: bytes
    error: bytes


@dataclass(frozen=True, slots=True)
class Contents:
    """What there is.

    Attributes:
        states: the present version of each key.
        history: all versions of each key, in their order.
        actions: by id.
        intents: state and attempts by id.
        events: (sequence, id, payload).
        outcomes: reply by key.
        fences: the highest of each workflow, and when its lease ends (0: released).
        orphans: how many versions have no state.
    """

    states: dict[str, int]
    history: dict[str, list[Version]]
    actions: dict[str, Action]
    intents: dict[str, tuple[int, int]]
    events: list[tuple[int, str, bytes]]
    outcomes: dict[str, bytes]
    fences: dict[str, tuple[int, int]]
    orphans: int


def read_contents(target: Target) -> Contents:
    """Reads it all."""
    states, versions, actions, intents, events, outcomes, fences, orphans = target.rows(
        *_STATEMENTS
    )
    history: dict[str, list[Version]] = {}
    decoder = msgspec.json.Decoder(Content)
    for key, version, fence, state in versions:
        content = decoder.decode(state)
        history.setdefault(key, []).append(Version(version, fence, content, checksum(state)))
    return Contents(
        states=dict(states),
        history=history,
        actions={row[0]: Action(*row[1:]) for row in actions},
        intents={row[0]: (row[1], row[2]) for row in intents},
        events=[(row[0], row[1], row[2]) for row in events],
        outcomes=dict(outcomes),
        fences={row[0]: (row[1], row[2]) for row in fences},
        orphans=orphans[0][0],
    )
