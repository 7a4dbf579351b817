"""What a batch has read and locked, all members' together in one wait for the server."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from onex_grpc.store.lease_rules import LeaseRow
from onex_grpc.store.model import RecordedAction
from onex_grpc.store.postgres.clock import SELECT_TIME
from onex_grpc.store.postgres.intent_sql import DUE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import LiteralString

    from onex_grpc.store.postgres.exchange import Answer, Exchange
    from onex_grpc.store.postgres.needs import Needs
    from onex_grpc.store.postgres.transaction import Row

SELECT_LEASE: Final = (
    "SELECT workflow_id, fence, lease_id, request_id, holder, ttl_us, expires_us FROM workflow "
)
_LOCK_LEASES: Final = (
    SELECT_LEASE + "WHERE workflow_id = ANY(%b::text[]) ORDER BY workflow_id FOR UPDATE"
)
_MAKE_ROOM: Final = (
    "INSERT INTO workflow (workflow_id, fence, lease_id) "
    "SELECT name, 0, '' FROM unnest(%b::text[]) AS name ON CONFLICT (workflow_id) DO NOTHING"
)
_VERSIONS: Final = "SELECT key, version FROM state WHERE key = ANY(%b::text[])"
_LOCK_STATES: Final = _VERSIONS + " ORDER BY key FOR UPDATE"
_ACTIONS: Final = (
    "SELECT scope, action_id, content_hash, reply, error, epoch, request, issued_us FROM action "
    "JOIN unnest(%b::text[], %b::text[]) AS wanted (scope, action_id) USING (scope, action_id)"
)
_INTENT_IDS: Final = "SELECT intent_id FROM intent WHERE intent_id = ANY(%b::text[])"
_FENCES: Final = "SELECT nextval('fence') FROM generate_series(1, %s)"


class Known:
    """Rows by their keys, as they are with the batch's own changes; None where there is none.

    Attributes:
        leases: by workflow; locked until the commit.
        versions: of states by key.
        locked: keys of the states that are locked until the commit.
        actions: by scope and id.
        looked_up: intent ids of which it is known whether they are in use.
        used: those of them that are.
        fences: new ones, in order.
        due: intents whose wait seems to have ended, with that time; None where nobody has looked.
    """

    __slots__ = ("actions", "due", "fences", "leases", "locked", "looked_up", "used", "versions")

    def __init__(self) -> None:
        self.leases: dict[str, LeaseRow | None] = {}
        self.versions: dict[str, int] = {}
        self.locked: set[str] = set()
        self.actions: dict[tuple[str, str], RecordedAction | None] = {}
        self.looked_up: set[str] = set()
        self.used: set[str] = set()
        self.fences: deque[int] = deque()
        self.due: Sequence[Row] | None = None

    def keep_due(self, rows: Sequence[Row]) -> None:
        """Takes the rows of DUE."""
        self.due = rows


def read_known(exchange: Exchange, needs: Needs, about_us: int) -> tuple[Known, Row]:
    """Reads and locks what a batch needs; returns it with the row of SELECT_TIME after all waits
    for locks. `about_us` is the time as far as it is known without asking, or 0.
    """
    known = Known()
    reading = _Reading(exchange)
    _lock_leases(reading, known, [*needs.guards, *needs.leases])
    _look_up(reading, known, needs)
    if needs.due and about_us:
        reading.send(DUE, (about_us, needs.due), known.keep_due)
    time = reading.finish()
    missing = [name for name in needs.guards if name not in known.leases]
    if missing:
        # There must be a row, or two processes could both find none and both go on.
        exchange.execute(_MAKE_ROOM, (missing,))
        _lock_leases(reading, known, missing)
        _look_for_actions(reading, known, needs)
        time = reading.finish()
    for name in needs.leases:
        known.leases.setdefault(name, None)
    return known, time


def _lock_leases(reading: _Reading, known: Known, names: Sequence[str]) -> None:
    def keep(rows: Sequence[Row]) -> None:
        known.leases.update((row[0], lease_of(row)) for row in rows)

    if names:
        reading.send(_LOCK_LEASES, (sorted(names),), keep)


def _look_up(reading: _Reading, known: Known, needs: Needs) -> None:
    if needs.fences:
        reading.send(_FENCES, (needs.fences,), lambda rows: known.fences.extend(r[0] for r in rows))
    known.versions.update(dict.fromkeys((*needs.changes, *needs.versions), 0))
    known.locked.update(needs.changes)
    if needs.changes:
        reading.send(_LOCK_STATES, (needs.changes,), known.versions.update)
    if needs.versions:
        reading.send(_VERSIONS, (needs.versions,), known.versions.update)
    if needs.intent_ids:
        known.looked_up.update(needs.intent_ids)
        reading.send(
            _INTENT_IDS, (needs.intent_ids,), lambda rows: known.used.update(r[0] for r in rows)
        )
    _look_for_actions(reading, known, needs)


def _look_for_actions(reading: _Reading, known: Known, needs: Needs) -> None:
    """After all by which a change may be refused: where another process has written the same action
    meanwhile, that is why it would be, and it is a repeat.
    """
    if needs.actions:
        known.actions.update(dict.fromkeys(needs.actions))
        scopes, ids = zip(*needs.actions, strict=True)
        reading.send(
            _ACTIONS,
            (list(scopes), list(ids)),
            lambda rows: known.actions.update((r[:2], RecordedAction(*r[2:])) for r in rows),
        )


def lease_of(row: Row | None) -> LeaseRow | None:
    """What a row of SELECT_LEASE says; None where it only serves to be locked."""
    return None if row is None or row[1] == 0 else LeaseRow(*row)


class _Reading:
    """Statements on their way, and what their rows are for."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._sent: list[tuple[Answer, Callable[[Sequence[Row]], None]]] = []

    def send(
        self,
        statement: LiteralString,
        bindings: Sequence[object],
        keep: Callable[[Sequence[Row]], None],
    ) -> None:
        answer = self._exchange.execute(statement, bindings)
        self._sent.append((answer, keep))

    def finish(self) -> Row:
        """Waits for all; returns the time after them."""
        timed = self._exchange.execute(SELECT_TIME)
        for answer, keep in self._sent:
            keep(answer.fetchall())
        self._sent.clear()
        return timed.fetchone() or (0, 0, 0)
