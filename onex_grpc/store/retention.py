"""How long a store keeps what is over, and how far its removal has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_DAY_US: Final = 86_400 * 1_000_000
FOREVER_US: Final = 2**62
"""An age that nothing reaches."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Ages in microseconds by the store's clock, after which things are removed.

    Actions and outcomes must outlive the longest outage after which they may be repeated: a repeat
    that finds no record, and says that it is older than that, is refused (OldRepeats). What is
    unfinished or dead, checkpoints, the newest version of each state, the actions and pending steps
    of open workflows and the beginnings of all stay in any case. Pending steps of workflows that
    have ended, or are unknown, go whatever their age.

    Attributes:
        intents_us: from the end of a completed or cancelled intent on.
        events_us: from the publishing of an event on.
        history_us: from the time on at which a version was no longer one of the newest.
        versions: how many of the newest versions of each state stay however old they are.
        actions_us: from the end of an action on.
        outcomes_us: from the recording of a keyed effect's outcome on.
    """

    intents_us: int = 7 * _DAY_US
    events_us: int = 7 * _DAY_US
    history_us: int = 30 * _DAY_US
    versions: int = 1
    actions_us: int = 30 * _DAY_US
    outcomes_us: int = 30 * _DAY_US


DEFAULT_RETENTION: Final = Retention()
"""That of nodes without settings."""


@dataclass(frozen=True, slots=True)
class PurgePosition:
    """How far a sweep has come: what lies up to here needs no second look in it."""

    history: int = 0
    actions: int = 0
    intents: int = 0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Purged:
    """What one portion of a sweep came to."""

    removed: int
    position: PurgePosition
    """Where the next portion goes on."""
    done: bool
    """Whether the sweep has reached what is too young to be removed."""
