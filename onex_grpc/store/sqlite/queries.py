"""What is read from a SQLite store, row by row or as lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store.event_positions import EventSpan, expired_position
from onex_grpc.store.keys import WORKFLOW_PREFIX, workflow_key
from onex_grpc.store.lease_rules import LeaseRow
from onex_grpc.store.model import (
    Guard,
    IdempotencyRecord,
    IntentState,
    OpenWork,
    RecordedAction,
    StateRow,
    StoredEvent,
    StoredIntent,
)
from onex_grpc.store.sqlite.actions import SELECT_ACTION
from onex_grpc.store.sqlite.events import SELECT_EVENT
from onex_grpc.store.sqlite.leases import SELECT_LEASE, SELECT_VERSION
from onex_grpc.store.sqlite.outcomes import SELECT_OUTCOME

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from onex_grpc.store.sqlite.transaction import Row

# Each alternative repeats the condition of a partial index (see intent_sql), so that nothing but a
# list of the completed ones walks over the completed ones.
CONDITIONS: Final = {
    IntentState.PENDING: (
        "state = 1",
        "state IN (2, 3) AND state = 2",
        "order_key <> '' AND state < 5 AND state = 4",
    ),
    IntentState.IN_FLIGHT: ("state IN (2, 3) AND state = 3",),
    IntentState.COMPLETED: ("state = 5",),
    IntentState.DEAD: ("state = 6",),
    IntentState.CANCELLED: ("state = 7",),
}
OPEN_WORK: Final = (
    "SELECT s.key, coalesce(w.holder, ''), coalesce(w.expires_us, 0) FROM state s "
    "LEFT JOIN workflow w ON s.key = ? || w.workflow_id AND w.workflow_id = substr(s.key, ?) "
    "WHERE s.open = 1 AND s.key >= ? AND s.key < ? ORDER BY s.key"
)
_EVENTS: Final = (
    "SELECT 0 AS seq, NULL, coalesce((SELECT seq FROM event_expired WHERE topic = ?1), 0) "
    "UNION ALL SELECT * FROM (SELECT seq, payload, published_us FROM event "
    "WHERE topic = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3) ORDER BY 1"
)
_EVENT_SPAN: Final = (
    "SELECT coalesce((SELECT seq FROM event_expired WHERE topic = ?1), 0), "
    "coalesce((SELECT min(seq) FROM event WHERE topic = ?1), 0), "
    "coalesce((SELECT max(seq) FROM event WHERE topic = ?1), 0), "
    "coalesce((SELECT max(seq) FROM event), 0)"
)
_PAGE: Final = (
    "SELECT seq, payload, attempts, last_error FROM intent "
    "WHERE seq IN (SELECT seq FROM ({}) ORDER BY seq LIMIT ?2) ORDER BY seq"
)


def lease(connection: apsw.Connection, workflow_id: str) -> tuple[LeaseRow | None, int]:
    """The highest fence known of a workflow, and its epoch."""
    row = connection.execute(SELECT_LEASE, (workflow_id,)).fetchone()
    if row is None:
        return None, 0
    epoch = connection.execute(SELECT_VERSION, (workflow_key(workflow_id),)).fetchone()
    return LeaseRow(*row), epoch[0] if epoch else 0


def known_fence(connection: apsw.Connection, workflow_id: str) -> Guard | None:
    """The highest fence known of a workflow."""
    row = connection.execute(SELECT_LEASE, (workflow_id,)).fetchone()
    return None if row is None else Guard(workflow_id, row[2], row[1])


def state(connection: apsw.Connection, key: str) -> StateRow:
    """The present state of a key."""
    row = connection.execute(
        "SELECT s.version, h.state, h.state_type FROM state s "
        "JOIN history h ON h.state_id = s.id AND h.version = s.version WHERE s.key = ?",
        (key,),
    ).fetchone()
    return StateRow(0, b"", "") if row is None else StateRow(*row)


def action(connection: apsw.Connection, scope: str, action_id: str) -> RecordedAction | None:
    """The recorded outcome of an action."""
    row = connection.execute(SELECT_ACTION, (scope, action_id)).fetchone()
    return None if row is None else RecordedAction(*row)


def outcome(connection: apsw.Connection, key: str) -> IdempotencyRecord | None:
    """The recorded outcome of a keyed effect."""
    row = connection.execute(SELECT_OUTCOME, (key,)).fetchone()
    return None if row is None else IdempotencyRecord(*row)


def open_work(connection: apsw.Connection, prefix: str, now_us: int) -> Sequence[OpenWork]:
    """Unfinished work whose key begins with a prefix."""
    rows: list[Row] = connection.execute(
        OPEN_WORK,
        (WORKFLOW_PREFIX, len(WORKFLOW_PREFIX) + 1, prefix, prefix + chr(0x10FFFF)),
    ).fetchall()
    return [OpenWork(key, holder, max(0, expires_us - now_us)) for key, holder, expires_us in rows]


def intents(
    connection: apsw.Connection, state: IntentState, after: int, limit: int
) -> Sequence[StoredIntent]:
    """Intents of one state, by sequence."""
    found = _each(state, "SELECT seq FROM intent WHERE {} AND seq > ?1")
    rows: list[Row] = connection.execute(_PAGE.format(found), (after, limit)).fetchall()
    return [
        StoredIntent(seq, payload, state, attempts, error) for seq, payload, attempts, error in rows
    ]


def _each(state: IntentState, statement: str) -> str:
    return " UNION ALL ".join(statement.format(condition) for condition in CONDITIONS[state])


def event(connection: apsw.Connection, topic: str, event_id: str) -> StoredEvent | None:
    """The event of an id."""
    row = connection.execute(SELECT_EVENT, (topic, event_id)).fetchone()
    return None if row is None else StoredEvent(*row)


def events(
    connection: apsw.Connection, topic: str, after: int, limit: int
) -> Sequence[StoredEvent]:
    """Return the next events of a topic; raises EventPositionExpiredError."""
    # One statement, so that what was purged and what is left are of the same moment.
    found: list[Row] = connection.execute(_EVENTS, (topic, after, limit)).fetchall()
    (_, _, expired), *rows = found
    if after < expired:
        raise expired_position(topic, after, event_span(connection, topic))
    return [StoredEvent(*row) for row in rows]


def event_span(connection: apsw.Connection, topic: str) -> EventSpan:
    """Return what the log has of a topic."""
    row: Row = connection.execute(_EVENT_SPAN, (topic,)).fetchone() or (0, 0, 0, 0)
    return EventSpan(*row)
