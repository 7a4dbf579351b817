"""What is read from a PostgreSQL store, row by row or as lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store.event_positions import EventSpan, expired_position
from onex_grpc.store.keys import WORKFLOW_PREFIX, workflow_key
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
from onex_grpc.store.postgres.actions import SELECT_ACTION
from onex_grpc.store.postgres.events import SELECT_EVENT
from onex_grpc.store.postgres.known import SELECT_LEASE, lease_of
from onex_grpc.store.postgres.leases import SELECT_VERSION
from onex_grpc.store.postgres.outcomes import SELECT_OUTCOME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.lease_rules import LeaseRow
    from onex_grpc.store.postgres.reader import Session

# Each alternative repeats the condition of a partial index (see intent_sql), so that nothing but a
# list of the completed ones walks over the completed ones.
_CONDITIONS: Final = {
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
_LEASE: Final = SELECT_LEASE + "WHERE workflow_id = %s"
_EVENTS: Final = (
    "SELECT 0::bigint AS seq, NULL::bytea, "
    "coalesce((SELECT seq FROM event_expired WHERE topic = %s), 0) "
    "UNION ALL (SELECT seq, payload, published_us FROM event "
    "WHERE topic = %s AND seq > %s ORDER BY seq LIMIT %s) ORDER BY 1"
)
_EVENT_SPAN: Final = (
    "SELECT coalesce((SELECT seq FROM event_expired WHERE topic = %s), 0), "
    "coalesce((SELECT min(seq) FROM event WHERE topic = %s), 0), "
    "coalesce((SELECT max(seq) FROM event WHERE topic = %s), 0), "
    "coalesce((SELECT max(seq) FROM event), 0)"
)
_PAGE: Final = (
    "(SELECT seq, payload, attempts, last_error FROM intent "
    "WHERE {} AND seq > %s ORDER BY seq LIMIT %s)"
)
_PAGES: Final = "SELECT * FROM ({}) AS page ORDER BY seq LIMIT %s"
_OPEN_WORK: Final = (
    "SELECT s.key, coalesce(w.holder, ''), coalesce(w.expires_us, 0) FROM state s "
    "LEFT JOIN workflow w "
    "ON w.workflow_id = substr(s.key, %s::integer) AND s.key = %s || w.workflow_id "
    "WHERE s.open AND s.key >= %s AND s.key < %s ORDER BY s.key"
)


def lease(session: Session, workflow_id: str) -> tuple[LeaseRow | None, int, int]:
    """The highest fence known of a workflow, its epoch, and the time."""
    row = session.row(_LEASE, (workflow_id,))
    epoch = session.row(SELECT_VERSION, (workflow_key(workflow_id),))
    return lease_of(row), epoch[0] if epoch else 0, session.now_us()


def known_fence(session: Session, workflow_id: str) -> Guard | None:
    """The highest fence known of a workflow."""
    row = lease_of(session.row(_LEASE, (workflow_id,)))
    return None if row is None else Guard(workflow_id, row.lease_id, row.fence)


def state(session: Session, key: str) -> StateRow:
    """The present state of a key."""
    row = session.row(
        "SELECT s.version, h.state, h.state_type FROM state s "
        "JOIN history h ON h.state_id = s.id AND h.version = s.version WHERE s.key = %s",
        (key,),
    )
    return StateRow(0, b"", "") if row is None else StateRow(*row)


def action(session: Session, scope: str, action_id: str) -> RecordedAction | None:
    """The recorded outcome of an action."""
    row = session.row(SELECT_ACTION, (scope, action_id))
    return None if row is None else RecordedAction(*row)


def outcome(session: Session, key: str) -> IdempotencyRecord | None:
    """The recorded outcome of a keyed effect."""
    row = session.row(SELECT_OUTCOME, (key,))
    return None if row is None else IdempotencyRecord(*row)


def open_work(session: Session, prefix: str) -> Sequence[OpenWork]:
    """Unfinished work whose key begins with a prefix."""
    rows = session.rows(
        _OPEN_WORK,
        (len(WORKFLOW_PREFIX) + 1, WORKFLOW_PREFIX, prefix, prefix + chr(0x10FFFF)),
    )
    now_us = session.now_us()
    return [OpenWork(key, holder, max(0, expires_us - now_us)) for key, holder, expires_us in rows]


def intents(session: Session, state: IntentState, after: int, limit: int) -> Sequence[StoredIntent]:
    """Intents of one state, by sequence."""
    conditions = _CONDITIONS[state]
    pages = " UNION ALL ".join(_PAGE.format(condition) for condition in conditions)
    rows = session.rows(
        _PAGES.format(pages),
        (*(after, limit) * len(conditions), limit),
    )
    return [
        StoredIntent(seq, payload, state, attempts, error) for seq, payload, attempts, error in rows
    ]


def event(session: Session, topic: str, event_id: str) -> StoredEvent | None:
    """The event of an id."""
    row = session.row(SELECT_EVENT, (topic, event_id))
    return None if row is None else StoredEvent(*row)


def events(session: Session, topic: str, after: int, limit: int) -> Sequence[StoredEvent]:
    """Return the next events of a topic; raises EventPositionExpiredError."""
    # One statement, so that what was purged and what is left are of the same moment.
    (_, _, expired), *rows = session.rows(_EVENTS, (topic, topic, after, limit))
    if after < expired:
        raise expired_position(topic, after, event_span(session, topic))
    return [StoredEvent(*row) for row in rows]


def event_span(session: Session, topic: str) -> EventSpan:
    """Return what the log has of a topic."""
    return EventSpan(*(session.row(_EVENT_SPAN, (topic,) * 3) or (0, 0, 0, 0)))
