"""What is read from the tables in memory."""

from __future__ import annotations

from bisect import bisect_right
from itertools import chain
from typing import TYPE_CHECKING, Final

from onex_grpc.store import tally
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

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    waiting = [row for row in tables.queue.values() if _SHOWN[row.stage] is IntentState.PENDING]
    first: dict[tuple[int, str], Intent] = {}
    for row in sorted(waiting, key=lambda row: (row.rank_us, row.sequence), reverse=True):
        if row.stage is Stage.READY:
            # The one that is served first, as the others find it without looking at all.
            first[row.priority, row.route] = row
    since: dict[int, int | None] = {}
    for row in (*first.values(), *(row for row in waiting if row.stage is not Stage.READY)):
        known = since.get(row.priority)
        since[row.priority] = min(row.created_us, known or row.created_us)
    rows = [(*key, count) for key, count in tables.tally.items()]
    return tally.queue_stats(rows, since, now_us)


def events(tables: Tables, topic: str, after: int, limit: int) -> Sequence[StoredEvent]:
    """Events of a topic, by sequence."""
    log = tables.topics.get(topic, [])
    start = bisect_right(log, after, key=lambda event: event.sequence)
    return log[start : start + limit]


def event_head(tables: Tables, topic: str) -> int:
    """The last sequence of a topic."""
    log = tables.topics.get(topic)
    return log[-1].sequence if log else 0


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
