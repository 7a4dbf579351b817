"""Removal of what is over in memory."""

from __future__ import annotations

from itertools import islice, takewhile
from typing import TYPE_CHECKING

from onex_grpc.store.keys import workflow_key
from onex_grpc.store.memory import history, pending_steps
from onex_grpc.store.memory.tables import Stage
from onex_grpc.store.retention import Purged, PurgePosition, Retention
from onex_grpc.store.retention_rules import START_WORKFLOW

if TYPE_CHECKING:
    from onex_grpc.store.memory.transaction import Transaction

_Part = tuple[int, int, bool]


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
    cutoff_us = tx.now_us - retention.history_us
    rows = sorted(
        (row for row in tx.tables.history.values() if row.sequence > after),
        key=lambda row: row.sequence,
    )
    old = list(takewhile(lambda row: row.entry.written_us < cutoff_us, islice(rows, limit)))
    removed = sum(
        history.remove_up_to(tx, row.key, row.entry.version - max(1, retention.versions))
        for row in old
    )
    return removed, old[-1].sequence if old else after, len(old) < limit


def _actions(tx: Transaction, retention: Retention, after: int, limit: int) -> _Part:
    cutoff_us = tx.now_us - retention.actions_us
    rows = sorted(
        ((row.logged, name) for name, row in tx.tables.actions.items()),
        key=lambda row: row[0].sequence,
    )
    later = (row for row in rows if row[0].sequence > after)
    old = list(takewhile(lambda row: row[0].finished_us < cutoff_us, islice(later, limit)))
    over = [
        name
        for row, name in old
        if row.sequence < rows[-1][0].sequence and _is_over(tx, name[0], row.action_type)
    ]
    for name in over:
        tx.remove(tx.tables.actions, name)
    return len(over), old[-1][0].sequence if old else after, len(old) < limit


def _is_over(tx: Transaction, scope: str, action_type: int) -> bool:
    state = tx.tables.states.get(workflow_key(scope))
    return state is None or (not state.is_open and action_type != START_WORKFLOW)


def _intents(tx: Transaction, retention: Retention, after: int, limit: int) -> _Part:
    cutoff_us = tx.now_us - retention.intents_us
    every = tx.tables.queue | tx.tables.finished
    last = max(every, default=0)
    rows = (every[sequence] for sequence in sorted(every) if sequence > after)
    old = list(takewhile(lambda row: row.created_us < cutoff_us, islice(rows, limit)))
    over = [
        row
        for row in old
        if row.stage in (Stage.COMPLETED, Stage.CANCELLED)
        and row.timed_us < cutoff_us
        and row.sequence < last
    ]
    for row in over:
        tx.remove(tx.tables.finished, row.sequence)
        tx.remove(tx.tables.intent_ids, row.intent_id)
    done = len(old) < limit
    return len(over), 0 if done else old[-1].sequence, done


def _events(tx: Transaction, retention: Retention, limit: int) -> tuple[int, bool]:
    cutoff_us = tx.now_us - retention.events_us
    log = sorted(tx.tables.events.items(), key=lambda item: item[1].sequence)
    rows = islice(log[:-1], limit)
    over = list(takewhile(lambda item: item[1].published_us < cutoff_us, rows))
    for name, event in over:
        tx.remove(tx.tables.events, name)
        kept = [other for other in tx.tables.topics[name[0]] if other is not event]
        tx.put(tx.tables.topics, name[0], kept)
        tx.put(tx.tables.expired_events, name[0], event.sequence)
    return len(over), len(over) < limit


def _outcomes(tx: Transaction, retention: Retention, limit: int) -> tuple[int, bool]:
    cutoff_us = tx.now_us - retention.outcomes_us
    rows = islice(tx.tables.recorded_us.items(), limit)
    over = [name for name, _ in takewhile(lambda item: item[1] < cutoff_us, rows)]
    for name in over:
        tx.remove(tx.tables.outcomes, name)
        tx.remove(tx.tables.recorded_us, name)
    return len(over), len(over) < limit


def _steps(tx: Transaction, after: int, limit: int) -> _Part:
    every = sorted(
        (step for table in tx.tables.steps.values() for step in table.values()),
        key=lambda step: step.sequence,
    )
    looked_at = list(islice((step for step in every if step.sequence > after), limit))
    over = [step.row for step in looked_at if not _is_open(tx, step.row.workflow_id)]
    for row in over:
        pending_steps.remove(tx, row.workflow_id, row.action_id)
    done = len(looked_at) < limit
    return len(over), 0 if done else looked_at[-1].sequence, done


def _is_open(tx: Transaction, workflow_id: str) -> bool:
    state = tx.tables.states.get(workflow_key(workflow_id))
    return state is not None and state.is_open
