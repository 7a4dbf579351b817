"""Removal of what is over: each table from its oldest row on, so that no index is needed for it."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Final

from onex_grpc.store.keys import WORKFLOW_PREFIX
from onex_grpc.store.retention import Purged, PurgePosition, Retention
from onex_grpc.store.retention_rules import START_WORKFLOW
from onex_grpc.store.sqlite.history import remove_up_to

if TYPE_CHECKING:
    from onex_grpc.store.sqlite.transaction import Row, Transaction

_Part = tuple[int, int, bool]

_VERSIONS: Final = (
    "SELECT id, written_us, state_id, version FROM history WHERE id > ? ORDER BY id LIMIT ?"
)
# A scope that is no workflow of this store has no state of its own.
_ACTIONS: Final = (
    "SELECT a.id, a.finished_us, a.action_type, s.open FROM action a "
    "LEFT JOIN state s ON s.key = ? || a.scope WHERE a.id > ? ORDER BY a.id LIMIT ?"
)
_INTENTS: Final = (
    "SELECT seq, created_us, state, timed_us FROM intent WHERE seq > ? ORDER BY seq LIMIT ?"
)
# The last rows stay: their numbers must not be issued again.
_LAST_INTENT: Final = "SELECT max(seq) FROM intent"
_LAST_ACTION: Final = "SELECT max(id) FROM action"
_EVENTS: Final = (
    "SELECT seq, published_us, topic FROM event WHERE seq < (SELECT max(seq) FROM event) "
    "ORDER BY seq LIMIT ?"
)
_EXPIRE: Final = (
    "INSERT INTO event_expired (topic, seq) VALUES (?, ?) "
    "ON CONFLICT (topic) DO UPDATE SET seq = excluded.seq"
)
_OUTCOMES: Final = "SELECT id, recorded_us FROM outcome ORDER BY id LIMIT ?"
STEPS: Final = (
    "SELECT p.id, coalesce(s.open, 0) FROM pending_steps p "
    "LEFT JOIN state s ON s.key = ? || p.workflow_id WHERE p.id > ? ORDER BY p.id LIMIT ?"
)
_COMPLETED: Final = 5
_CANCELLED: Final = 7


def purge(tx: Transaction, retention: Retention, position: PurgePosition, limit: int) -> Purged:
    """Removes one portion of what is over."""
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
    rows: list[Row] = tx.execute(_VERSIONS, (after, limit)).fetchall()
    old = _older(rows, tx.now_us - retention.history_us)
    # Each row shuts out the one that lies `versions` before it, so that each is looked at once.
    removed = sum(
        remove_up_to(tx, state_id, version - max(1, retention.versions))
        for _, _, state_id, version in old
    )
    return removed, old[-1][0] if old else after, len(old) < limit


def _actions(tx: Transaction, retention: Retention, after: int, limit: int) -> _Part:
    rows: list[Row] = tx.execute(_ACTIONS, (WORKFLOW_PREFIX, after, limit)).fetchall()
    ((last,),) = tx.execute(_LAST_ACTION).fetchall()
    old = _older(rows, tx.now_us - retention.actions_us)
    over = [
        number
        for number, _, action_type, is_open in old
        if number < last and (is_open is None or (not is_open and action_type != START_WORKFLOW))
    ]
    tx.executemany("DELETE FROM action WHERE id = ?", [(one,) for one in over])
    return len(over), old[-1][0] if old else after, len(old) < limit


def _intents(tx: Transaction, retention: Retention, after: int, limit: int) -> _Part:
    cutoff_us = tx.now_us - retention.intents_us
    rows: list[Row] = tx.execute(_INTENTS, (after, limit)).fetchall()
    ((last,),) = tx.execute(_LAST_INTENT).fetchall()
    old = _older(rows, cutoff_us)
    over = [
        seq
        for seq, _, state, ended_us in old
        if state in (_COMPLETED, _CANCELLED) and ended_us < cutoff_us and seq < last
    ]
    tx.executemany("DELETE FROM intent WHERE seq = ?", [(one,) for one in over])
    done = len(old) < limit
    return len(over), 0 if done else old[-1][0], done


def _events(tx: Transaction, retention: Retention, limit: int) -> tuple[int, bool]:
    rows: list[Row] = tx.execute(_EVENTS, (limit,)).fetchall()
    over = _older(rows, tx.now_us - retention.events_us)
    tx.executemany("DELETE FROM event WHERE seq = ?", [(seq,) for seq, _, _ in over])
    # By sequence, so that each topic's last one stays.
    tx.executemany(_EXPIRE, [*{topic: seq for seq, _, topic in over}.items()])
    return len(over), len(over) < limit


def _outcomes(tx: Transaction, retention: Retention, limit: int) -> tuple[int, bool]:
    rows: list[Row] = tx.execute(_OUTCOMES, (limit,)).fetchall()
    over = [number for number, _ in _older(rows, tx.now_us - retention.outcomes_us)]
    tx.executemany("DELETE FROM outcome WHERE id = ?", [(one,) for one in over])
    return len(over), len(over) < limit


def _steps(tx: Transaction, after: int, limit: int) -> _Part:
    rows: list[Row] = tx.execute(STEPS, (WORKFLOW_PREFIX, after, limit)).fetchall()
    over = [number for number, is_open in rows if not is_open]
    tx.executemany("DELETE FROM pending_steps WHERE id = ?", [(one,) for one in over])
    done = len(rows) < limit
    return len(over), 0 if done else rows[-1][0], done


def _older(rows: list[Row], cutoff_us: int) -> list[Row]:
    return list(takewhile(lambda row: row[1] < cutoff_us, rows))
