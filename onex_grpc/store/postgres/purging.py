"""Removal of what is over: each table from its oldest row on, so that no index is needed for it."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Final

from onex_grpc.store.keys import WORKFLOW_PREFIX
from onex_grpc.store.postgres.history import remove_up_to
from onex_grpc.store.retention import Purged, PurgePosition, Retention
from onex_grpc.store.retention_rules import START_WORKFLOW

if TYPE_CHECKING:
    from onex_grpc.store.postgres.transaction import Row, Transaction

_Part = tuple[int, int, bool]

_VERSIONS: Final = (
    "SELECT id, written_us, state_id, version FROM history WHERE id > %s ORDER BY id LIMIT %s"
)
# A scope that is no workflow of this store has no state of its own.
_ACTIONS: Final = (
    "SELECT a.id, a.finished_us, a.action_type, s.open FROM action a "
    "LEFT JOIN state s ON s.key = %s || a.scope WHERE a.id > %s ORDER BY a.id LIMIT %s"
)
_INTENTS: Final = (
    "SELECT seq, created_us, state, timed_us FROM intent WHERE seq > %s ORDER BY seq LIMIT %s"
)
# The last rows stay: their numbers must not be issued again.
_LAST_INTENT: Final = "SELECT max(seq) FROM intent"
_LAST_ACTION: Final = "SELECT max(id) FROM action"
_EVENTS: Final = (
    "SELECT seq, published_us, topic FROM event WHERE seq < (SELECT max(seq) FROM event) "
    "ORDER BY seq LIMIT %s"
)
_EXPIRE: Final = (
    "INSERT INTO event_expired (topic, seq) SELECT * FROM unnest(%s::text[], %s::bigint[]) "
    "ON CONFLICT (topic) DO UPDATE SET seq = greatest(event_expired.seq, excluded.seq)"
)
_OUTCOMES: Final = "SELECT id, recorded_us FROM outcome ORDER BY id LIMIT %s"
_STEPS: Final = (
    "SELECT p.id, coalesce(s.open, false) FROM pending_steps p "
    "LEFT JOIN state s ON s.key = %s || p.workflow_id WHERE p.id > %s ORDER BY p.id LIMIT %s"
)
# A row that is being recorded is locked, and left to the next sweep.
_REMOVE_STEPS: Final = (
    "DELETE FROM pending_steps WHERE id IN "
    "(SELECT id FROM pending_steps WHERE id = ANY(%s) FOR UPDATE SKIP LOCKED)"
)
_COMPLETED: Final = 5
_CANCELLED: Final = 7


def purge(tx: Transaction, retention: Retention, position: PurgePosition, limit: int) -> Purged:
    """Removes one portion of what is over, unless another process is at it."""
    # Two that delete the same rows would wait for each other, and one removes all of them.
    if not tx.try_lock("purge"):
        return Purged(0, position, done=True)
    versions, at_version, no_versions = _versions(tx, retention, position.history, limit)
    actions, at_action, no_actions = _actions(tx, retention, position.actions, limit)
    intents, at_intent, no_intents = _intents(tx, retention, position.intents, limit)
    events, no_events = _events(tx, retention, limit)
    outcomes, no_outcomes = _outcomes(tx, retention, limit)
    steps, at_step, no_steps = _steps(tx, position.steps, limit)
    return Purged(
        versions + actions + intents + events + outcomes + steps,
        PurgePosition(at_version, at_action, at_intent, at_step),
        no_versions and no_actions and no_intents and no_events and no_outcomes and no_steps,
    )


def _versions(tx: Transaction, retention: Retention, after: int, limit: int) -> _Part:
    rows = tx.rows(_VERSIONS, (after, limit))
    old = _older(rows, tx.now_us - retention.history_us)
    # Each row shuts out the one that lies `versions` before it, so that each is looked at once.
    removed = sum(
        remove_up_to(tx, state_id, version - max(1, retention.versions))
        for _, _, state_id, version in old
    )
    return removed, old[-1][0] if old else after, len(old) < limit


def _actions(tx: Transaction, retention: Retention, after: int, limit: int) -> _Part:
    rows = tx.rows(_ACTIONS, (WORKFLOW_PREFIX, after, limit))
    ((last,),) = tx.rows(_LAST_ACTION)
    old = _older(rows, tx.now_us - retention.actions_us)
    over = [
        number
        for number, _, action_type, is_open in old
        if number < last and (is_open is None or (not is_open and action_type != START_WORKFLOW))
    ]
    tx.write("DELETE FROM action WHERE id = ANY(%s)", (over,))
    return len(over), old[-1][0] if old else after, len(old) < limit


def _intents(tx: Transaction, retention: Retention, after: int, limit: int) -> _Part:
    cutoff_us = tx.now_us - retention.intents_us
    rows = tx.rows(_INTENTS, (after, limit))
    ((last,),) = tx.rows(_LAST_INTENT)
    old = _older(rows, cutoff_us)
    over = [
        seq
        for seq, _, state, ended_us in old
        if state in (_COMPLETED, _CANCELLED) and ended_us < cutoff_us and seq < last
    ]
    tx.write("DELETE FROM intent WHERE seq = ANY(%s)", (over,))
    done = len(old) < limit
    return len(over), 0 if done else old[-1][0], done


def _events(tx: Transaction, retention: Retention, limit: int) -> tuple[int, bool]:
    rows = tx.rows(_EVENTS, (limit,))
    over = _older(rows, tx.now_us - retention.events_us)
    tx.write("DELETE FROM event WHERE seq = ANY(%s)", ([seq for seq, _, _ in over],))
    # By sequence, so that each topic's last one stays.
    last = {topic: seq for seq, _, topic in over}
    tx.write(_EXPIRE, ([*last], [*last.values()]))
    return len(over), len(over) < limit


def _outcomes(tx: Transaction, retention: Retention, limit: int) -> tuple[int, bool]:
    rows = tx.rows(_OUTCOMES, (limit,))
    over = [number for number, _ in _older(rows, tx.now_us - retention.outcomes_us)]
    tx.write("DELETE FROM outcome WHERE id = ANY(%s)", (over,))
    return len(over), len(over) < limit


def _steps(tx: Transaction, after: int, limit: int) -> _Part:
    rows = tx.rows(_STEPS, (WORKFLOW_PREFIX, after, limit))
    over = [number for number, is_open in rows if not is_open]
    tx.write(_REMOVE_STEPS, (over,))
    done = len(rows) < limit
    return len(over), 0 if done else rows[-1][0], done


def _older(rows: list[Row], cutoff_us: int) -> list[Row]:
    return list(takewhile(lambda row: row[1] < cutoff_us, rows))
