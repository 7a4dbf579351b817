"""The queue of intents in PostgreSQL. Each public function is (part of) one operation."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from onex_grpc.store.model import ClaimedIntent, IntentState, NewIntent
from onex_grpc.store.postgres import intent_sql as sql
from onex_grpc.store.queue_rules import claim_token, ids_in_use, parse_claim, rank_us, vanished

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.postgres.transaction import Row, Transaction

_READY: Final = 1
_IN_FLIGHT: Final = 3
_BLOCKED: Final = 4

# How many rows whose wait has ended one claim looks at, if it does not want more itself.
_DUE_ROWS: Final = 64


def add(tx: Transaction, new: Sequence[NewIntent]) -> None:
    """Queues intents; one behind an unfinished one of its order_key is held back.

    Raises:
        AlreadyExistsError: an intent_id is known.
    """
    # An id that is known is told by name, since a failed insert would end the transaction.
    ids = [intent.intent_id for intent in new]
    known = tx.row(sql.FIND_ID, (ids,))
    if known is not None or len(set(ids)) < len(ids):
        raise ids_in_use(new)
    for intent in new:
        state = _BLOCKED if _has_earlier(tx, intent.order_key) else _READY
        tx.write(sql.INSERT, _row(tx, intent, state))
        tx.tally.add(IntentState.PENDING, intent.priority)
    tx.emit()


def claim(tx: Transaction, worker: str, limit: int, visibility_us: int) -> Sequence[ClaimedIntent]:
    """Hands out what ranks first, and counts the attempt."""
    if limit <= 0:
        return ()
    _promote_due(tx, max(limit, _DUE_ROWS))
    visible_us = tx.now_us + visibility_us
    nonce = secrets.token_hex(8)
    rows = tx.write_rows(sql.CLAIM, (limit, nonce, worker, visible_us))
    # RETURNING promises no order.
    rows.sort()
    for row in rows:
        tx.tally.move(IntentState.PENDING, IntentState.IN_FLIGHT, row[2])
    if rows:
        tx.changes.due(visible_us)
    if len(rows) < limit and tx.row(sql.HAS_READY) == (False,):
        (next_due_us,) = tx.row(sql.NEXT_DUE) or (None,)
        tx.changes.drained(next_due_us)
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
        for _, seq, _, intent_id, attempts, max_attempts, payload, traceparent, redrives in rows
    ]


def complete(tx: Transaction, claim_tokens: Sequence[str]) -> Sequence[bool]:
    """Marks intents executed; a late claim still counts while nobody else has the intent."""
    return [_complete(tx, token) for token in claim_tokens]


def fail(tx: Transaction, token: str, error: bytes, retry_in_us: int | None) -> IntentState | None:
    """Ends an attempt with its error."""
    seq, nonce = parse_claim(token)
    row = tx.row(sql.SELECT_HELD, (seq, nonce))
    if row is None:
        return None
    attempts, max_attempts, order_key, priority = row
    if retry_in_us is None or attempts >= max_attempts:
        _bury(tx, seq, error, order_key, priority)
        return IntentState.DEAD
    again_us = tx.now_us + max(0, retry_in_us)
    tx.write(sql.RETRY, (again_us, rank_us(priority, again_us), error, seq))
    tx.tally.move(IntentState.IN_FLIGHT, IntentState.PENDING, priority)
    tx.changes.due(again_us)
    return IntentState.PENDING


def extend(tx: Transaction, claim_tokens: Sequence[str], visibility_us: int) -> Sequence[bool]:
    """Prolongs the visibility timeout of claims."""
    until_us = tx.now_us + visibility_us
    held = [bool(tx.write_rows(sql.EXTEND, (until_us, *parse_claim(t)))) for t in claim_tokens]
    if any(held):
        tx.changes.due(until_us)
    return held


def release(tx: Transaction, claim_tokens: Sequence[str]) -> None:
    """Gives claims back; the attempt does not count."""
    for token in claim_tokens:
        for (priority,) in tx.write_rows(sql.GIVE_BACK, parse_claim(token)):
            tx.tally.move(IntentState.IN_FLIGHT, IntentState.PENDING, priority)
    tx.emit()


def take_back(tx: Transaction, worker: str, keep: Sequence[str]) -> None:
    """Frees the claims of a worker, all but those of `keep`; their attempts count."""
    kept = {parse_claim(token) for token in keep}
    held = tx.rows(sql.HELD_BY, (worker,))
    for seq, nonce, attempts, max_attempts, order_key, priority in held:
        if (seq, nonce) in kept:
            continue
        if attempts >= max_attempts:
            _bury(tx, seq, vanished(attempts), order_key, priority)
        else:
            tx.write(sql.PROMOTE, (seq,))
            tx.tally.move(IntentState.IN_FLIGHT, IntentState.PENDING, priority)
    tx.emit()


def cancel(tx: Transaction, intent_ids: Sequence[str]) -> int:
    """Ends intents that nobody has taken; returns how many."""
    cancelled = tx.write_rows(sql.CANCEL, (tx.now_us, list(intent_ids)))
    for _, priority in cancelled:
        tx.tally.move(IntentState.PENDING, IntentState.CANCELLED, priority)
    for order_key in sorted({order_key for order_key, _ in cancelled}):
        _unblock(tx, order_key)
    return len(cancelled)


def redrive(tx: Transaction, intent_ids: Sequence[str]) -> int:
    """Gives dead intents all their attempts again; returns how many."""
    return _redrive(tx, tx.rows(sql.SELECT_DEAD, (list(intent_ids),)))


def redrive_dead(tx: Transaction, limit: int) -> int:
    """Gives the oldest dead intents all their attempts again; returns how many."""
    return _redrive(tx, tx.rows(sql.SELECT_OLDEST_DEAD, (max(0, limit),)))


def _redrive(tx: Transaction, dead: Sequence[Row]) -> int:
    for seq, order_key, priority in dead:
        state = _BLOCKED if _has_earlier(tx, order_key) else _READY
        tx.write(sql.REDRIVE, (state, rank_us(priority, tx.now_us), seq))
        tx.tally.move(IntentState.DEAD, IntentState.PENDING, priority)
    if dead:
        tx.emit()
    return len(dead)


def _row(tx: Transaction, intent: NewIntent, state: int) -> Row:
    return (
        intent.intent_id,
        state,
        intent.priority,
        rank_us(intent.priority, tx.now_us),
        intent.max_attempts,
        intent.order_key,
        tx.now_us,
        intent.correlation_id,
        intent.traceparent,
        intent.payload,
    )


def _has_earlier(tx: Transaction, order_key: str) -> bool:
    if not order_key:
        return False
    _lock_order(tx, order_key)
    return tx.row(sql.HAS_EARLIER, (order_key,)) is not None


def _promote_due(tx: Transaction, limit: int) -> None:
    due = tx.rows(sql.DUE, (tx.now_us, limit))
    for seq, state, attempts, max_attempts, order_key, priority in due:
        if state == _IN_FLIGHT and attempts >= max_attempts:
            _bury(tx, seq, vanished(attempts), order_key, priority)
        else:
            tx.write(sql.PROMOTE, (seq,))
            if state == _IN_FLIGHT:
                tx.tally.move(IntentState.IN_FLIGHT, IntentState.PENDING, priority)


def _complete(tx: Transaction, token: str) -> bool:
    done = tx.write_rows(sql.COMPLETE, (tx.now_us, *parse_claim(token)))
    for order_key, priority in done:
        tx.tally.move(IntentState.IN_FLIGHT, IntentState.COMPLETED, priority)
        _unblock(tx, order_key)
    return bool(done)


def _bury(tx: Transaction, seq: int, error: bytes, order_key: str, priority: int) -> None:
    tx.write(sql.BURY, (tx.now_us, error, seq))
    tx.tally.move(IntentState.IN_FLIGHT, IntentState.DEAD, priority)
    _unblock(tx, order_key)


def _unblock(tx: Transaction, order_key: str) -> None:
    if not order_key:
        return
    _lock_order(tx, order_key)
    if tx.write_rows(sql.UNBLOCK, (order_key,)):
        tx.emit()


def _lock_order(tx: Transaction, order_key: str) -> None:
    # Who adds behind an unfinished one, and who finishes it, must see each other, or the one that
    # was added would stay blocked for ever.
    tx.lock(f"order\n{order_key}")
