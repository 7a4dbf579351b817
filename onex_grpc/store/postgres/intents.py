"""The queue of intents in PostgreSQL. Each public function is (part of) one operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store.model import ClaimedIntent, IntentState, NewIntent
from onex_grpc.store.postgres import intent_sql as sql
from onex_grpc.store.postgres.needs import DUE_ROWS
from onex_grpc.store.postgres.transaction import Later
from onex_grpc.store.queue_rules import (
    claim_token,
    ids_in_use,
    parse_claim,
    rank_us,
    vanished,
    wanted_routes,
)
from onex_grpc.store.randomness import random_hex

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from onex_grpc.store.postgres.transaction import Row, Transaction

_READY: Final = 1
_IN_FLIGHT: Final = 3
_BLOCKED: Final = 4


def check_unused(tx: Transaction, new: Sequence[NewIntent]) -> None:
    """Lets intents through whose ids are new.

    Raises:
        AlreadyExistsError: an intent_id is known.
    """
    ids = [intent.intent_id for intent in new]
    known = tx.known
    if not known.looked_up.issuperset(ids):
        known.used.update(row[0] for row in tx.rows(sql.FIND_IDS, (ids,)))
    if len(set(ids)) < len(ids) or not known.used.isdisjoint(ids):
        raise ids_in_use(new)


def add(tx: Transaction, new: Sequence[NewIntent]) -> None:
    """Queues intents that `check_unused` has let through; one behind an unfinished one of its
    order_key is held back.
    """
    tx.known.used.update(intent.intent_id for intent in new)
    tx.lock_orders(intent.order_key for intent in new)
    for intent in new:
        state = _BLOCKED if _has_earlier(tx, intent.order_key) else _READY
        tx.later().intents.append(_row(tx, intent, state))
        tx.tally.add(IntentState.PENDING, intent.priority, intent.route)
        tx.emit(intent.route)


def claim(
    tx: Transaction, worker: str, limit: int, visibility_us: int, accepts: Collection[str]
) -> Later[Sequence[ClaimedIntent]]:
    """Hands out what ranks first, and counts the attempt."""
    if limit <= 0:
        return Later(lambda: ())
    _promote_due(tx, max(limit, DUE_ROWS))
    visible_us = tx.now_us + visibility_us
    nonce = random_hex(8)
    routes = tuple(wanted_routes(accepts)) if accepts else ()
    answers = tx.pending.add_claims(routes, limit, (nonce, worker, visible_us))

    def value() -> Sequence[ClaimedIntent]:
        # RETURNING promises no order.
        rows = sorted(answers.take((nonce,)))
        tx.writes += len(rows)
        for row in rows:
            tx.tally.move(IntentState.PENDING, IntentState.IN_FLIGHT, row[3], row[4])
        if rows:
            tx.changes.due(visible_us)
        if len(rows) < limit:
            _look_ahead(tx, routes)
        return [_claimed(row, visible_us) for row in rows]

    return Later(value)


def complete(tx: Transaction, claim_tokens: Sequence[str]) -> Later[Sequence[bool]]:
    """Marks intents executed; a late claim still counts while nobody else has the intent."""
    claims = [parse_claim(token) for token in claim_tokens]
    sent = [(claim, tx.pending.add_completion(*claim, tx.now_us)) for claim in claims]

    def value() -> Sequence[bool]:
        completed = [answers.take(claim) for claim, answers in sent]
        tx.lock_orders(row[2] for rows in completed for row in rows)
        for rows in completed:
            for _, _, order_key, priority in rows:
                tx.writes += 1
                tx.tally.move(IntentState.IN_FLIGHT, IntentState.COMPLETED, priority)
                _unblock(tx, order_key)
        return [bool(rows) for rows in completed]

    return Later(value)


def fail(tx: Transaction, token: str, error: bytes, retry_in_us: int | None) -> IntentState | None:
    """Ends an attempt with its error."""
    seq, nonce = parse_claim(token)
    row = tx.row(sql.SELECT_HELD, (seq, nonce))
    if row is None:
        return None
    attempts, max_attempts, order_key, priority, route = row
    if retry_in_us is None or attempts >= max_attempts:
        _bury(tx, seq, error, order_key, priority)
        return IntentState.DEAD
    again_us = tx.now_us + max(0, retry_in_us)
    tx.write(sql.RETRY, (again_us, rank_us(priority, again_us), error, seq))
    tx.tally.move(IntentState.IN_FLIGHT, IntentState.PENDING, priority, route)
    tx.changes.due(again_us)
    tx.all_promoted = tx.all_promoted and again_us > tx.now_us
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
        for priority, route in tx.write_rows(sql.GIVE_BACK, parse_claim(token)):
            tx.tally.move(IntentState.IN_FLIGHT, IntentState.PENDING, priority, route)
            tx.emit(route)


def take_back(tx: Transaction, worker: str, keep: Sequence[str]) -> None:
    """Frees the claims of a worker, all but those of `keep`; their attempts count."""
    kept = {parse_claim(token) for token in keep}
    held = tx.rows(sql.HELD_BY, (worker,))
    for seq, nonce, attempts, max_attempts, order_key, priority, route in held:
        if (seq, nonce) in kept:
            continue
        if attempts >= max_attempts:
            _bury(tx, seq, vanished(attempts), order_key, priority)
        else:
            tx.write(sql.PROMOTE, (seq,))
            tx.tally.move(IntentState.IN_FLIGHT, IntentState.PENDING, priority, route)
            tx.emit(route)


def cancel(tx: Transaction, intent_ids: Sequence[str]) -> int:
    """Ends intents that nobody has taken; returns how many."""
    cancelled = tx.write_rows(sql.CANCEL, (tx.now_us, list(intent_ids)))
    for _, priority, route in cancelled:
        tx.tally.move(IntentState.PENDING, IntentState.CANCELLED, priority, route)
    tx.lock_orders(order_key for order_key, _, _ in cancelled)
    for order_key in sorted({order_key for order_key, _, _ in cancelled}):
        _unblock(tx, order_key)
    return len(cancelled)


def redrive(tx: Transaction, intent_ids: Sequence[str]) -> int:
    """Gives dead intents all their attempts again; returns how many."""
    return _redrive(tx, tx.rows(sql.SELECT_DEAD, (list(intent_ids),)))


def redrive_dead(tx: Transaction, limit: int) -> int:
    """Gives the oldest dead intents all their attempts again; returns how many."""
    return _redrive(tx, tx.rows(sql.SELECT_OLDEST_DEAD, (max(0, limit),)))


def _redrive(tx: Transaction, dead: Sequence[Row]) -> int:
    tx.lock_orders(order_key for _, order_key, _, _ in dead)
    for seq, order_key, priority, route in dead:
        state = _BLOCKED if _has_earlier(tx, order_key) else _READY
        tx.write(sql.REDRIVE, (state, rank_us(priority, tx.now_us), seq))
        tx.tally.move(IntentState.DEAD, IntentState.PENDING, priority, route)
        tx.emit(route)
    return len(dead)


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


def _claimed(row: Row, visible_us: int) -> ClaimedIntent:
    nonce, _, seq, _, _, intent_id, attempts, max_attempts, payload, traceparent, redrives = row
    return ClaimedIntent(
        intent_id=intent_id,
        claim_token=claim_token(seq, nonce),
        attempt=attempts,
        max_attempts=max_attempts,
        payload=payload,
        traceparent=traceparent,
        visible_us=visible_us,
        redrives=redrives,
    )


def _has_earlier(tx: Transaction, order_key: str) -> bool:
    if not order_key:
        return False
    tx.lock_orders((order_key,))
    return tx.row(sql.HAS_EARLIER, (order_key,)) is not None


def _look_ahead(tx: Transaction, routes: tuple[str, ...]) -> None:
    """Finds out, once for all members of these routes that got less than they wanted, when there
    may be more.
    """
    if routes in tx.looked_ahead:
        return
    tx.looked_ahead.add(routes)
    # Others may have had locked what was left over.
    left = tx.row(sql.HAS_READY_OF, (list(routes),)) if routes else tx.row(sql.HAS_READY)
    if left == (False,):
        (next_due_us,) = tx.row(sql.NEXT_DUE) or (None,)
        tx.changes.drained(routes, next_due_us)


def _promote_due(tx: Transaction, limit: int) -> None:
    # Time stands still within a batch.
    if tx.all_promoted:
        return
    due = tx.known.due
    tx.known.due = None
    if due is None:
        due = tx.rows(sql.DUE, (tx.now_us, limit))
    tx.all_promoted = len(due) < limit
    for seq, state, attempts, max_attempts, order_key, priority, route, timed_us in due:
        if timed_us > tx.now_us:
            continue
        if state == _IN_FLIGHT and attempts >= max_attempts:
            _bury(tx, seq, vanished(attempts), order_key, priority)
        else:
            tx.write(sql.PROMOTE, (seq,))
            tx.emit(route)
            if state == _IN_FLIGHT:
                tx.tally.move(IntentState.IN_FLIGHT, IntentState.PENDING, priority, route)


def _bury(tx: Transaction, seq: int, error: bytes, order_key: str, priority: int) -> None:
    tx.write(sql.BURY, (tx.now_us, error, seq))
    tx.tally.move(IntentState.IN_FLIGHT, IntentState.DEAD, priority)
    _unblock(tx, order_key)


def _unblock(tx: Transaction, order_key: str) -> None:
    if not order_key:
        return
    tx.lock_orders((order_key,))
    for (route,) in tx.write_rows(sql.UNBLOCK, (order_key,)):
        tx.emit(route)
