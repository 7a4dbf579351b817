"""What one process tells the others that wait, in the transaction that gives them reason to."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from onex_grpc.store.postgres.transaction import Transaction

# The first process of a store listens as FIRST, all others as COMPANY. A notice costs more than the
# commit that it goes with, and is sent only where somebody holds COMPANY. Where nobody does, the
# commit holds it until it is visible, so that who comes meanwhile finds what it was not told.
FIRST: Final = "SELECT pg_try_advisory_lock(hashtextextended(%s, 4))"
COMPANY: Final = "SELECT pg_advisory_lock_shared(hashtextextended(%s, 5))"
NOTIFY: Final = (
    "SELECT pg_notify(%s, %s) WHERE NOT pg_try_advisory_xact_lock(hashtextextended(%s, 5))"
)
# A process whose writer was cut off is still there as long as it listens. Where an earlier
# connection of it has the lock, that one shows the same.
PRESENT: Final = "SELECT pg_try_advisory_lock(hashtextextended(%s, 6))"
# By who could not hear, and tell, for a while: without it, nobody else may have held COMPANY.
TELL_ALL: Final = "SELECT pg_notify(%s, 'all')"
_ALL: Final = "all"
_READY: Final = "ready "
_DUE: Final = "due "
_DUE_TIME: Final = re.compile(_DUE + "([0-9]{1,18})")
_TOPIC: Final = "topic "
_WATCH: Final = "watch "
# Who looks at the time announced last may do so before a commit of that moment is visible.
_COMMIT_US: Final = 1_000_000
# PostgreSQL refuses payloads of 8000 bytes and more; a topic is a name, and shorter.
_ROUTES_BYTES: Final = 4000


@dataclass(frozen=True, slots=True)
class Notice:
    """What a notification says: intents of these routes are ready or one will be, a topic has
    grown, or another process waits for one.

    All of them where it says nothing that is understood.
    """

    ready: Sequence[str] = ()
    due_us: int | None = None
    topic: str = ""
    watched: str = ""

    @classmethod
    def parse(cls, payload: str) -> Notice | None:
        """Reads a payload; None where everybody should look."""
        if payload.startswith(_READY):
            routes = _routes(payload[len(_READY) :])
            return None if routes is None else cls(ready=routes)
        if due := _DUE_TIME.fullmatch(payload):
            return cls(due_us=int(due[1]))
        if payload.startswith(_TOPIC) and len(payload) > len(_TOPIC):
            return cls(topic=payload[len(_TOPIC) :])
        if payload.startswith(_WATCH):
            return cls(watched=payload[len(_WATCH) :])
        return None


class Announcer:
    """Decides what is worth a notification, which costs all writers of the database a lock."""

    def __init__(self, is_watched: Callable[[str], bool]) -> None:
        """Takes what says whether another process waits for the end of a lease."""
        self._is_watched = is_watched
        self._due_us: int | None = None

    def payloads(self, tx: Transaction) -> list[str]:
        """What a batch tells the others."""
        told = [_ready(tx.emitted)] if tx.emitted else []
        changes = tx.changes
        due_us = changes.due_us if self._due_us is None else changes.new_due_us
        if due_us is not None and due_us > tx.now_us and self._is_news(due_us, tx.now_us):
            # Those who have been told of an earlier time look then, and find this one.
            self._due_us = due_us
            told.append(f"{_DUE}{due_us}")
        told.extend(
            f"{_TOPIC}{topic}"
            for topic in sorted(changes.topics)
            # Leases end all the time, and hardly ever does anybody wait for that.
            if not topic.startswith("\n") or self._is_watched(topic)
        )
        told.extend(f"{_WATCH}{topic}" for topic in sorted(changes.watched))
        return told

    def forget(self) -> None:
        """Nobody may have heard what was announced last."""
        self._due_us = None

    def _is_news(self, due_us: int, now_us: int) -> bool:
        announced = self._due_us
        return announced is None or announced <= now_us + _COMMIT_US or due_us < announced


def _ready(routes: Collection[str]) -> str:
    # Escapes make it ASCII: as many bytes as characters.
    payload = _READY + json.dumps(sorted(routes))
    return payload if len(payload) < _ROUTES_BYTES else _ALL


def _routes(told: str) -> list[str] | None:
    try:
        routes: object = json.loads(told)
    except (ValueError, RecursionError):
        # Of another version, or a stranger's.
        return None
    if not isinstance(routes, list):
        return None
    named = [route for route in routes if isinstance(route, str)]
    return named if named and len(named) == len(routes) else None
