"""The queue of intents in memory. A public function is an operation, or part of one."""

from __future__ import annotations

import heapq
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from onex_grpc.store.memory.tables import Intent, Stage
from onex_grpc.store.model import ClaimedIntent, IntentState
from onex_grpc.store.queue_rules import (
    claim_token,
    ids_in_use,
    parse_claim,
    rank_us,
    vanished,
    wanted_routes,
)
from onex_grpc.store.tally import count_key

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from onex_grpc.store.memory.transaction import Transaction
    from onex_grpc.store.model import NewIntent


def add(tx: Transaction, new: Sequence[NewIntent]) -> None:
    """Queues intents; one behind an unfinished one of its order_key is held back.

    Raises:
        AlreadyExistsError: an intent_id is known.
    """
    for intent in new:
        if intent.intent_id in tx.tables.intent_ids:
            raise ids_in_use(new)
        sequence = tx.next_number("intent")
        held_back = _first_of(tx, intent.order_key) is not None
        row = Intent(
            sequence=sequence,
            intent_id=intent.intent_id,
            stage=Stage.BLOCKED if held_back else Stage.READY,
            priority=intent.priority,
            rank_us=rank_us(intent.priority, tx.now_us),
            max_attempts=intent.max_attempts,
            order_key=intent.order_key,
            route=intent.route,
            created_us=tx.now_us,
            traceparent=intent.traceparent,
            payload=intent.payload,
        )
        tx.put(tx.tables.intent_ids, intent.intent_id, sequence)
        _count(tx, IntentState.PENDING, row, 1)
        tx.put(tx.tables.queue, sequence, row)
        tx.changes.emitted(intent.route)


def claim(
    tx: Transaction, worker: str, limit: int, visibility_us: int, accepts: Collection[str]
) -> Sequence[ClaimedIntent]:
    """Hands out what ranks first, and counts the attempt."""
    if limit <= 0:
        return ()
    _promote_due(tx)
    visible_us = tx.now_us + visibility_us
    nonce = secrets.token_hex(8)
    wanted = set(wanted_routes(accepts))
    ready = [
        row
        for row in tx.tables.queue.values()
        if row.stage is Stage.READY and (not accepts or row.route in wanted)
    ]
    taken = [
        replace(
            row,
            stage=Stage.IN_FLIGHT,
            attempts=row.attempts + 1,
            nonce=nonce,
            worker=worker,
            timed_us=visible_us,
        )
        for row in heapq.nsmallest(limit, ready, key=lambda row: (row.rank_us, row.sequence))
    ]
    for row in taken:
        tx.put(tx.tables.queue, row.sequence, row)
        _move(tx, IntentState.PENDING, IntentState.IN_FLIGHT, row)
    if taken:
        tx.changes.due(visible_us)
    if len(taken) < limit:
        tx.changes.drained(accepts, min((row.timed_us for row in _timed(tx)), default=None))
    return [_claimed(row) for row in taken]


def complete(tx: Transaction, claim_tokens: Sequence[str]) -> Sequence[bool]:
    """Marks intents executed; a late claim still counts while nobody else has the intent."""
    return [_complete(tx, token) for token in claim_tokens]


def fail(tx: Transaction, token: str, error: bytes, retry_in_us: int | None) -> IntentState | None:
    """Ends an attempt with its error."""
    row = _held(tx, token)
    if row is None:
        return None
    if retry_in_us is None or row.attempts >= row.max_attempts:
        _bury(tx, row, error)
        return IntentState.DEAD
    again_us = tx.now_us + max(0, retry_in_us)
    waiting = replace(
        row,
        stage=Stage.SCHEDULED,
        timed_us=again_us,
        rank_us=rank_us(row.priority, again_us),
        nonce="",
        last_error=error,
    )
    tx.put(tx.tables.queue, row.sequence, waiting)
    _move(tx, IntentState.IN_FLIGHT, IntentState.PENDING, row)
    tx.changes.due(again_us)
    return IntentState.PENDING


def extend(tx: Transaction, claim_tokens: Sequence[str], visibility_us: int) -> Sequence[bool]:
    """Prolongs the visibility timeout of claims."""
    rows = [_held(tx, token) for token in claim_tokens]
    for row in rows:
        if row is not None:
            extended = replace(row, timed_us=tx.now_us + visibility_us)
            tx.put(tx.tables.queue, row.sequence, extended)
            tx.changes.due(extended.timed_us)
    return [row is not None for row in rows]


def release(tx: Transaction, claim_tokens: Sequence[str]) -> None:
    """Gives claims back; the attempt does not count."""
    for token in claim_tokens:
        row = _held(tx, token)
        if row is not None:
            _make_ready(tx, replace(row, attempts=row.attempts - 1))
            _move(tx, IntentState.IN_FLIGHT, IntentState.PENDING, row)


def take_back(tx: Transaction, worker: str, keep: Sequence[str]) -> None:
    """Frees the claims of a worker, all but those of `keep`; their attempts count."""
    kept = {parse_claim(token) for token in keep}
    for row in _timed(tx):
        is_of_worker = row.stage is Stage.IN_FLIGHT and row.worker == worker
        if is_of_worker and (row.sequence, row.nonce) not in kept:
            _try_again(tx, row)


def cancel(tx: Transaction, intent_ids: Sequence[str]) -> int:
    """Ends intents that nobody has taken; returns how many."""
    # One that is named twice is cancelled once.
    ids = dict.fromkeys(intent_ids)
    found = (tx.tables.queue.get(tx.tables.intent_ids.get(name, -1)) for name in ids)
    waiting = [row for row in found if row is not None and row.stage is not Stage.IN_FLIGHT]
    for row in waiting:
        # Not as it stood at first: one that ends before it may have let it go.
        now = tx.tables.queue[row.sequence]
        _finish(tx, replace(now, stage=Stage.CANCELLED, timed_us=tx.now_us))
        _move(tx, IntentState.PENDING, IntentState.CANCELLED, row)
    return len(waiting)


def redrive(tx: Transaction, intent_ids: Sequence[str]) -> int:
    """Gives dead intents all their attempts again; returns how many."""
    sequences = sorted({tx.tables.intent_ids.get(name, -1) for name in intent_ids})
    found = [tx.tables.finished.get(sequence) for sequence in sequences]
    return _redrive(tx, [row for row in found if row and row.stage is Stage.DEAD])


def redrive_dead(tx: Transaction, limit: int) -> int:
    """Gives the oldest dead intents all their attempts again; returns how many."""
    dead = [row for row in tx.tables.finished.values() if row.stage is Stage.DEAD]
    dead.sort(key=lambda row: row.sequence)
    return _redrive(tx, dead[: max(0, limit)])


def _redrive(tx: Transaction, dead: Sequence[Intent]) -> int:
    for row in dead:
        held_back = _first_of(tx, row.order_key) is not None
        again = replace(
            row,
            stage=Stage.BLOCKED if held_back else Stage.READY,
            rank_us=rank_us(row.priority, tx.now_us),
            attempts=0,
            redrives=row.redrives + 1,
        )
        tx.remove(tx.tables.finished, row.sequence)
        tx.put(tx.tables.queue, row.sequence, again)
        _move(tx, IntentState.DEAD, IntentState.PENDING, row)
        tx.changes.emitted(row.route)
    return len(dead)


def _count(tx: Transaction, state: IntentState, row: Intent, count: int) -> None:
    key = count_key(state, row.priority, row.route)
    tx.put(tx.tables.tally, key, tx.tables.tally.get(key, 0) + count)


def _move(tx: Transaction, before: IntentState, after: IntentState, row: Intent) -> None:
    _count(tx, before, row, -1)
    _count(tx, after, row, 1)


def _promote_due(tx: Transaction) -> None:
    for row in _timed(tx):
        if row.timed_us > tx.now_us:
            continue
        if row.stage is Stage.IN_FLIGHT:
            _try_again(tx, row)
        else:
            _make_ready(tx, row)


def _try_again(tx: Transaction, row: Intent) -> None:
    if row.attempts >= row.max_attempts:
        _bury(tx, row, vanished(row.attempts))
    else:
        _make_ready(tx, row)
        _move(tx, IntentState.IN_FLIGHT, IntentState.PENDING, row)


def _make_ready(tx: Transaction, row: Intent) -> None:
    tx.put(tx.tables.queue, row.sequence, replace(row, stage=Stage.READY, nonce=""))
    tx.changes.emitted(row.route)


def _complete(tx: Transaction, token: str) -> bool:
    row = _held(tx, token)
    if row is None:
        return False
    _finish(tx, replace(row, stage=Stage.COMPLETED, timed_us=tx.now_us))
    _move(tx, IntentState.IN_FLIGHT, IntentState.COMPLETED, row)
    return True


def _bury(tx: Transaction, row: Intent, error: bytes) -> None:
    _finish(tx, replace(row, stage=Stage.DEAD, last_error=error, timed_us=tx.now_us))
    _move(tx, IntentState.IN_FLIGHT, IntentState.DEAD, row)


def _finish(tx: Transaction, row: Intent) -> None:
    tx.remove(tx.tables.queue, row.sequence)
    tx.put(tx.tables.finished, row.sequence, row)
    behind = _first_of(tx, row.order_key)
    if behind is not None and behind.stage is Stage.BLOCKED:
        _make_ready(tx, behind)


def _first_of(tx: Transaction, order_key: str) -> Intent | None:
    if not order_key:
        return None
    of_key = (row for row in tx.tables.queue.values() if row.order_key == order_key)
    return min(of_key, key=lambda row: row.sequence, default=None)


def _held(tx: Transaction, token: str) -> Intent | None:
    sequence, nonce = parse_claim(token)
    row = tx.tables.queue.get(sequence)
    is_held = row is not None and row.stage is Stage.IN_FLIGHT and row.nonce == nonce
    return row if is_held else None


def _timed(tx: Transaction) -> Sequence[Intent]:
    timed = (Stage.SCHEDULED, Stage.IN_FLIGHT)
    return [row for row in tx.tables.queue.values() if row.stage in timed]


def _claimed(row: Intent) -> ClaimedIntent:
    return ClaimedIntent(
        intent_id=row.intent_id,
        claim_token=claim_token(row.sequence, row.nonce),
        attempt=row.attempts,
        max_attempts=row.max_attempts,
        payload=row.payload,
        traceparent=row.traceparent,
        visible_us=row.timed_us,
        redrives=row.redrives,
    )
