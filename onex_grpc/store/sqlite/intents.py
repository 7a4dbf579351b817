"""The queue of intents in SQLite. A public function is an operation of a batch, or part of one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from onex_grpc.store.model import ClaimedIntent, IntentState, NewIntent
from onex_grpc.store.queue_rules import claim_token, ids_in_use, parse_claim, rank_us, vanished
from onex_grpc.store.randomness import random_hex
from onex_grpc.store.sqlite import intent_sql as sql

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from onex_grpc.store.sqlite.transaction import Row, Transaction

_READY: Final = 1
_IN_FLIGHT: Final = 3
_BLOCKED: Final = 4

# How many rows whose wait has ended one claim looks at, if it does not want more itself.
_DUE_ROWS: Final = 64


def add(tx: Transaction, new: Sequence[NewIntent]) -> None:
    """Queues intents; one behind an unfinished one of its order_key is held back.

    It is the first write of a change: where it refuses, there is nothing else to undo.

    Raises:
        AlreadyExistsError: an intent_id is known; then none is queued.
    """
    before = tx.connection.total_changes()
    if any(intent.order_key for intent in new):
        for intent in new:
            state = _BLOCKED if _has_earlier(tx, intent.order_key) else _READY
            tx.execute(sql.INSERT, _row(tx, intent, state))
    else:
        tx.executemany(sql.INSERT, [_row(tx, intent, _READY) for intent in new])
    added = tx.connection.total_changes() - before
    if added < len(new):
        _take_back(tx, added)
        raise ids_in_use(new)
    for intent in new:
        tx.tally.add(IntentState.PENDING, intent.priority, intent.route)
    for route in {intent.route for intent in new}:
        tx.changes.emitted(route)


def claim(
    tx: Transaction, worker: str, limit: int, visibility_us: int, accepts: Collection[str]
) -> Sequence[ClaimedIntent]:
    """Hands out what ranks first, and counts the attempt."""
    if limit <= 0:
        return ()
    _promote_due(tx, max(limit, _DUE_ROWS))
    visible_us = tx.now_us + visibility_us
    nonce = random_hex(8)
    rows = _take(tx, (nonce, worker, visible_us), _candidates(tx, accepts), limit)
    for row in rows:
        tx.tally.move(IntentState.PENDING, IntentState.IN_FLIGHT, row[2], row[3])
    if rows:
        tx.changes.due(visible_us)
    if len(rows) < limit:
        (next_due_us,) = tx.execute(sql.NEXT_DUE).fetchone() or (None,)
        tx.changes.drained(accepts, next_due_us)
    return [
        ClaimedIntent(
            intent_id=intent_id,
            claim_token=claim_token(seq, nonce),
            attempt=attempts,
            max_attempts=max_attempts,
            payload=payload,
            traceparent=traceparent,
            visible_us=visible_us,
            redrives=redrives,
        )
        for _, seq, _, _, intent_id, attempts, max_attempts, payload, traceparent, redrives in rows
    ]


def complete(tx: Transaction, claim_tokens: Sequence[str]) -> Sequence[bool]:
    """Marks intents executed; a late claim still counts while nobody else has the intent."""
    return [_complete(tx, token) for token in claim_tokens]


def fail(tx: Transaction, token: str, error: bytes, retry_in_us: int | None) -> IntentState | None:
    """Ends an attempt with its error."""
    seq, nonce = parse_claim(token)
    row = tx.execute(sql.SELECT_HELD, (seq, nonce)).fetchone()
    if row is None:
        return None
    attempts, max_attempts, order_key, priority, route = row
    if retry_in_us is None or attempts >= max_attempts:
        _bury(tx, seq, error, order_key, priority)
        return IntentState.DEAD
    again_us = tx.now_us + max(0, retry_in_us)
    tx.execute(sql.RETRY, (again_us, rank_us(priority, again_us), error, seq))
    tx.tally.move(IntentState.IN_FLIGHT, IntentState.PENDING, priority, route)
    tx.changes.due(again_us)
    return IntentState.PENDING


def extend(tx: Transaction, claim_tokens: Sequence[str], visibility_us: int) -> Sequence[bool]:
    """Prolongs the visibility timeout of claims."""
    until_us = tx.now_us + visibility_us
    held = [
        bool(tx.execute(sql.EXTEND, (until_us, *parse_claim(token))).fetchall())
        for token in claim_tokens
    ]
    if any(held):
        tx.changes.due(until_us)
    return held


def release(tx: Transaction, claim_tokens: Sequence[str]) -> None:
    """Gives claims back; the attempt does not count."""
    for token in claim_tokens:
        freed: list[Row] = tx.execute(sql.GIVE_BACK, parse_claim(token)).fetchall()
        for priority, route in freed:
            tx.tally.move(IntentState.IN_FLIGHT, IntentState.PENDING, priority, route)
            tx.changes.emitted(route)


def take_back(tx: Transaction, worker: str, keep: Sequence[str]) -> None:
    """Frees the claims of a worker, all but those of `keep`; their attempts count."""
    kept = {parse_claim(token) for token in keep}
    held: list[Row] = tx.execute(sql.HELD_BY, (worker,)).fetchall()
    for seq, nonce, attempts, max_attempts, order_key, priority, route in held:
        if (seq, nonce) in kept:
            continue
        if attempts >= max_attempts:
            _bury(tx, seq, vanished(attempts), order_key, priority)
        else:
            tx.execute(sql.PROMOTE, (seq,))
            tx.tally.move(IntentState.IN_FLIGHT, IntentState.PENDING, priority, route)
            tx.changes.emitted(route)


def cancel(tx: Transaction, intent_ids: Sequence[str]) -> int:
    """Ends intents that nobody has taken; returns how many."""
    cancelled = 0
    for intent_id in intent_ids:
        rows: list[Row] = tx.execute(sql.CANCEL, (tx.now_us, intent_id)).fetchall()
        for order_key, priority, route in rows:
            tx.tally.move(IntentState.PENDING, IntentState.CANCELLED, priority, route)
            _unblock(tx, order_key)
        cancelled += len(rows)
    return cancelled


def redrive(tx: Transaction, intent_ids: Sequence[str]) -> int:
    """Gives dead intents all their attempts again; returns how many."""
    found = (tx.execute(sql.SELECT_DEAD, (name,)).fetchone() for name in dict.fromkeys(intent_ids))
    return _redrive(tx, sorted(row for row in found if row is not None))


def redrive_dead(tx: Transaction, limit: int) -> int:
    """Gives the oldest dead intents all their attempts again; returns how many."""
    return _redrive(tx, tx.execute(sql.SELECT_OLDEST_DEAD, (max(0, limit),)).fetchall())


def _redrive(tx: Transaction, dead: Sequence[Row]) -> int:
    for seq, order_key, priority, route in dead:
        state = _BLOCKED if _has_earlier(tx, order_key) else _READY
        tx.execute(sql.REDRIVE, (state, rank_us(priority, tx.now_us), seq))
        tx.tally.move(IntentState.DEAD, IntentState.PENDING, priority, route)
        tx.changes.emitted(route)
    return len(dead)


def _candidates(tx: Transaction, accepts: Collection[str]) -> list[str]:
    readiness = tx.changes.readiness
    known = readiness.candidates(accepts)
    if known is None:
        ready: list[Row] = tx.execute(sql.READY_ROUTES).fetchall()
        readiness.found(route for (route,) in ready)
        known = readiness.candidates(accepts) or []
    return known


def _take(tx: Transaction, claim: Row, routes: list[str], limit: int) -> list[Row]:
    if not routes:
        return []
    if len(routes) <= sql.MOST_MERGED:
        statement, bindings = sql.claim(len(routes)), (*claim, *routes, limit)
    else:
        statement, bindings = sql.CLAIM_OF_MANY, (*claim, json.dumps(routes), limit)
    rows: list[Row] = tx.execute(statement, bindings).fetchall()
    # RETURNING promises no order.
    rows.sort()
    return rows


def _row(tx: Transaction, intent: NewIntent, state: int) -> Row:
    return (
        intent.intent_id,
        state,
        intent.priority,
        rank_us(intent.priority, tx.now_us),
        intent.max_attempts,
        intent.order_key,
        intent.route,
        tx.now_us,
        intent.correlation_id,
        intent.traceparent,
        intent.payload,
    )


def _take_back(tx: Transaction, added: int) -> None:
    """Removes the intents that were added last, as if they had never been."""
    if added:
        tx.execute(sql.TAKE_BACK, (tx.connection.last_insert_rowid() - added,))
        tx.undone += 2 * added


def _has_earlier(tx: Transaction, order_key: str) -> bool:
    return bool(order_key) and tx.execute(sql.HAS_EARLIER, (order_key,)).fetchone() is not None


def _promote_due(tx: Transaction, limit: int) -> None:
    due: list[Row] = tx.execute(sql.DUE, (tx.now_us, limit)).fetchall()
    for seq, state, attempts, max_attempts, order_key, priority, route in due:
        if state == _IN_FLIGHT and attempts >= max_attempts:
            _bury(tx, seq, vanished(attempts), order_key, priority)
        else:
            tx.execute(sql.PROMOTE, (seq,))
            tx.changes.emitted(route)
            if state == _IN_FLIGHT:
                tx.tally.move(IntentState.IN_FLIGHT, IntentState.PENDING, priority, route)


def _complete(tx: Transaction, token: str) -> bool:
    done: list[Row] = tx.execute(sql.COMPLETE, (tx.now_us, *parse_claim(token))).fetchall()
    for order_key, priority in done:
        tx.tally.move(IntentState.IN_FLIGHT, IntentState.COMPLETED, priority)
        _unblock(tx, order_key)
    return bool(done)


def _bury(tx: Transaction, seq: int, error: bytes, order_key: str, priority: int) -> None:
    tx.execute(sql.BURY, (tx.now_us, error, seq))
    tx.tally.move(IntentState.IN_FLIGHT, IntentState.DEAD, priority)
    _unblock(tx, order_key)


def _unblock(tx: Transaction, order_key: str) -> None:
    if not order_key:
        return
    unblocked: list[Row] = tx.execute(sql.UNBLOCK, (order_key,)).fetchall()
    for (route,) in unblocked:
        tx.changes.emitted(route)
