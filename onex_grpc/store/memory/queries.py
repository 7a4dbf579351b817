"""What is read from the tables in memory."""

from __future__ import annotations

from bisect import bisect_right
from heapq import nsmallest
from itertools import chain
from typing import TYPE_CHECKING, Final

from onex_grpc.store import tally
from onex_grpc.store.event_positions import EventSpan, expired_position
from onex_grpc.store.keys import WORKFLOW_PREFIX, workflow_key
from onex_grpc.store.memory.registry import REVISION
from onex_grpc.store.memory.tables import Stage
from onex_grpc.store.model import (
    Guard,
    IntentState,
    NodeEntries,
    OpenWork,
    QueueStats,
    StateRow,
    StoredEvent,
    StoredIntent,
)
from onex_grpc.store.queue_rules import LOOKED_AT, looked_at_of_each

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onex_grpc.store.lease_rules import LeaseRow
    from onex_grpc.store.memory.tables import Intent, Tables
    from onex_grpc.store.model import RecordedAction

_SHOWN: Final = {
    Stage.READY: IntentState.PENDING,
    Stage.SCHEDULED: IntentState.PENDING,
    Stage.BLOCKED: IntentState.PENDING,
    Stage.IN_FLIGHT: IntentState.IN_FLIGHT,
    Stage.COMPLETED: IntentState.COMPLETED,
    Stage.DEAD: IntentState.DEAD,
    Stage.CANCELLED: IntentState.CANCELLED,
}


def lease(tables: Tables, workflow_id: str) -> tuple[LeaseRow | None, int]:
    """The highest fence known of a workflow, and its epoch."""
    return tables.leases.get(workflow_id), tables.version(workflow_key(workflow_id))


def known_fence(tables: Tables, workflow_id: str) -> Guard | None:
    """The highest fence known of a workflow."""
    row = tables.leases.get(workflow_id)
    return None if row is None else Guard(workflow_id, row.lease_id, row.fence)


def state(tables: Tables, key: str) -> StateRow:
    """The present state of a key."""
    row = tables.states.get(key)
    return StateRow(row.version, row.state, row.state_type) if row else StateRow(0, b"", "")


def action(tables: Tables, scope: str, action_id: str) -> RecordedAction | None:
    """The recorded outcome of an action."""
    row = tables.actions.get((scope, action_id))
    return None if row is None else row.recorded


def open_work(tables: Tables, prefix: str, now_us: int) -> Sequence[OpenWork]:
    """Unfinished work whose key begins with a prefix, by key."""
    found = [key for key, row in tables.states.items() if row.is_open and key.startswith(prefix)]
    return [_open_work(tables, key, now_us) for key in sorted(found)]


def intents(tables: Tables, state: IntentState, after: int, limit: int) -> Sequence[StoredIntent]:
    """Intents of one state, by sequence."""
    rows = [
        row
        for row in chain(tables.queue.values(), tables.finished.values())
        if _SHOWN[row.stage] is state and row.sequence > after
    ]
    rows.sort(key=lambda row: row.sequence)
    return [
        StoredIntent(row.sequence, row.payload, state, row.attempts, row.last_error)
        for row in rows[:limit]
    ]


def queue_stats(tables: Tables, now_us: int) -> QueueStats:
    """The figures of the queue."""
    counts = [(*key, count) for key, count in tables.tally.items()]
    rows = list(tables.queue.values())
    ready: dict[str, list[Intent]] = {}
    for row in rows:
        if row.stage is Stage.READY:
            ready.setdefault(row.route, []).append(row)
    share = looked_at_of_each(len(tally.pending_routes(counts)))
    timed = (row for row in rows if row.stage in (Stage.SCHEDULED, Stage.IN_FLIGHT))
    ordered = (row for row in rows if row.order_key)
    looked_at = (
        *chain.from_iterable(nsmallest(share, each, key=_by_rank) for each in ready.values()),
        *_staying(Stage.SCHEDULED, nsmallest(LOOKED_AT, timed, key=_by_time)),
        *_staying(Stage.BLOCKED, nsmallest(LOOKED_AT, ordered, key=_by_order)),
    )
    oldest = [(row.route, row.priority, row.created_us) for row in looked_at]
    return tally.queue_stats(counts, oldest, now_us)


def _staying(stage: Stage, rows: Sequence[Intent]) -> Iterator[Intent]:
    return (row for row in rows if row.stage is stage)


def _by_rank(row: Intent) -> tuple[int, int]:
    return row.rank_us, row.sequence


def _by_time(row: Intent) -> tuple[int, int]:
    return row.timed_us, row.sequence


def _by_order(row: Intent) -> tuple[str, int]:
    return row.order_key, row.sequence


def events(tables: Tables, topic: str, after: int, limit: int) -> Sequence[StoredEvent]:
    """Return the next events of a topic; raises EventPositionExpiredError."""
    if after < tables.expired_events.get(topic, 0):
        raise expired_position(topic, after, event_span(tables, topic))
    log = tables.topics.get(topic, [])
    start = bisect_right(log, after, key=lambda event: event.sequence)
    return log[start : start + limit]


def event_span(tables: Tables, topic: str) -> EventSpan:
    """Return what the log has of a topic."""
    log = tables.topics.get(topic, [])
    return EventSpan(
        expired=tables.expired_events.get(topic, 0),
        first=log[0].sequence if log else 0,
        head=log[-1].sequence if log else 0,
        end=tables.counters.get("event", 0),
    )


def nodes(tables: Tables) -> NodeEntries:
    """All that are registered."""
    return NodeEntries(revision(tables), [tables.nodes[key] for key in sorted(tables.nodes)])


def revision(tables: Tables) -> int:
    """The number of the registry's last change."""
    return tables.counters.get(REVISION, 0)


def _open_work(tables: Tables, key: str, now_us: int) -> OpenWork:
    is_workflow = key.startswith(WORKFLOW_PREFIX)
    row = tables.leases.get(key.removeprefix(WORKFLOW_PREFIX)) if is_workflow else None
    if row is None:
        return OpenWork(key, "", 0)
    return OpenWork(key, row.holder, max(0, (row.expires_us or 0) - now_us))
