"""The queue of intents in PostgreSQL. Each public function is (part of) one operation."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from onex.v1 import error_pb2
from onex_grpc.errors import AlreadyExistsError, OutcomeUnknownError
from onex_grpc.store.model import ClaimedIntent, IntentState, NewIntent
from onex_grpc.store.postgres import intent_sql as sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.postgres.transaction import Row, Transaction

_READY: Final = 1
_IN_FLIGHT: Final = 3
_BLOCKED: Final = 4

_MINUTE_US: Final = 60_000_000
# An intent ranks as if it had become available this much earlier: each priority is served before
# the next one, and yet none waits for ever.
_BONUS_US: Final = {1: 10 * _MINUTE_US, 2: 5 * _MINUTE_US, 3: 2 * _MINUTE_US, 4: _MINUTE_US, 5: 0}
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
        raise AlreadyExistsError(
            f"intent_id: one of {', '.join(ids)} is in use; ids are unique for all time"
        )
    for intent in new:
        state = _BLOCKED if _has_earlier(tx, intent.order_key) else _READY
        tx.write(sql.INSERT, _row(tx, intent, state))
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
    if rows:
        tx.changes.due(visible_us)
    if len(rows) < limit and tx.row(sql.HAS_READY) == (False,):
        (next_due_us,) = tx.row(sql.NEXT_DUE) or (None,)
        tx.changes.drained(next_due_us)
    return [
        ClaimedIntent(
            intent_id=intent_id,
            claim_token=f"{seq}.{nonce}",
            attempt=attempts,
            max_attempts=max_attempts,
            payload=payload,
            traceparent=traceparent,
            visible_us=visible_us,
        )
        for _, seq, intent_id, attempts, max_attempts, payload, traceparent in rows
    ]


def complete(tx: Transaction, claim_tokens: Sequence[str]) -> Sequence[bool]:
    """Marks intents executed; a late claim still counts while nobody else has the intent."""
    return [_complete(tx, token) for token in claim_tokens]


def fail(
    tx: Transaction, claim_token: str, error: bytes, retry_in_us: int | None
) -> IntentState | None:
    """Ends an attempt with its error."""
    seq, nonce = _parse(claim_token)
    row = tx.row(sql.SELECT_HELD, (seq, nonce))
    if row is None:
        return None
    attempts, max_attempts, order_key, priority = row
    if retry_in_us is None or attempts >= max_attempts:
        _bury(tx, seq, error, order_key)
        return IntentState.DEAD
    again_us = tx.now_us + max(0, retry_in_us)
    tx.write(sql.RETRY, (again_us, again_us - _bonus(priority), error, seq))
    tx.changes.due(again_us)
    return IntentState.PENDING


def extend(tx: Transaction, claim_tokens: Sequence[str], visibility_us: int) -> Sequence[bool]:
    """Prolongs the visibility timeout of claims."""
    until_us = tx.now_us + visibility_us
    return [bool(tx.write_rows(sql.EXTEND, (until_us, *_parse(token)))) for token in claim_tokens]


def release(tx: Transaction, claim_tokens: Sequence[str]) -> None:
    """Gives claims back; the attempt does not count."""
    for token in claim_tokens:
        tx.write(sql.GIVE_BACK, _parse(token))
    tx.emit()


def take_back(tx: Transaction, worker: str, keep: Sequence[str]) -> None:
    """Frees the claims of a worker, all but those of `keep`; their attempts count."""
    kept = {_parse(token) for token in keep}
    held = tx.rows(sql.HELD_BY, (worker,))
    for seq, nonce, attempts, max_attempts, order_key in held:
        if (seq, nonce) in kept:
            continue
        if attempts >= max_attempts:
            _bury(tx, seq, _vanished(attempts), order_key)
        else:
            tx.write(sql.PROMOTE, (seq,))
    tx.emit()


def cancel(tx: Transaction, intent_ids: Sequence[str]) -> int:
    """Ends intents that nobody has taken; returns how many."""
    cancelled = tx.write_rows(sql.CANCEL, (tx.now_us, list(intent_ids)))
    for order_key in sorted({order_key for (order_key,) in cancelled}):
        _unblock(tx, order_key)
    return len(cancelled)


def _row(tx: Transaction, intent: NewIntent, state: int) -> Row:
    return (
        intent.intent_id,
        state,
        intent.priority,
        tx.now_us - _bonus(intent.priority),
        intent.max_attempts,
        intent.order_key,
        tx.now_us,
        intent.correlation_id,
        intent.traceparent,
        intent.payload,
    )


def _bonus(priority: int) -> int:
    return _BONUS_US.get(priority, _BONUS_US[3])


def _parse(claim_token: str) -> tuple[int, str]:
    # The row's number in the token saves an index over tokens; one that is not ours names no row.
    number, _, nonce = claim_token.partition(".")
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        return -1, ""
    return int(number), nonce


def _has_earlier(tx: Transaction, order_key: str) -> bool:
    if not order_key:
        return False
    _lock_order(tx, order_key)
    return tx.row(sql.HAS_EARLIER, (order_key,)) is not None


def _promote_due(tx: Transaction, limit: int) -> None:
    due = tx.rows(sql.DUE, (tx.now_us, limit))
    for seq, state, attempts, max_attempts, order_key in due:
        if state == _IN_FLIGHT and attempts >= max_attempts:
            _bury(tx, seq, _vanished(attempts), order_key)
        else:
            tx.write(sql.PROMOTE, (seq,))


def _complete(tx: Transaction, claim_token: str) -> bool:
    done = tx.write_rows(sql.COMPLETE, (tx.now_us, *_parse(claim_token)))
    if done:
        _unblock(tx, done[0][0])
    return bool(done)


def _bury(tx: Transaction, seq: int, error: bytes, order_key: str) -> None:
    tx.write(sql.BURY, (tx.now_us, error, seq))
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


def _vanished(attempts: int) -> bytes:
    return error_pb2.ErrorDetail(
        reason=OutcomeUnknownError.reason,
        message=f"the worker of attempt {attempts}, the last one, did not report within the "
        "visibility timeout; look at the target before this is redriven",
        status_code=OutcomeUnknownError.default_status,
    ).SerializeToString()
