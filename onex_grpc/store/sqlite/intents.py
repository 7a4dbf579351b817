"""The queue of intents in SQLite. Each public function is an operation of a batch, or part of one."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

import apsw

from onex.v1 import error_pb2
from onex_grpc.errors import AlreadyExistsError, OutcomeUnknownError
from onex_grpc.store.model import ClaimedIntent, IntentState, NewIntent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.sqlite.transaction import Row, Transaction

READY: Final = 1
SCHEDULED: Final = 2
IN_FLIGHT: Final = 3
BLOCKED: Final = 4
COMPLETED: Final = 5
DEAD: Final = 6

_MINUTE_US: Final = 60_000_000
# An intent ranks as if it had become available this much earlier; so each priority is served before
# the next one, and
# yet none waits for ever.
_BONUS_US: Final = {1: 10 * _MINUTE_US, 2: 5 * _MINUTE_US, 3: 2 * _MINUTE_US, 4: _MINUTE_US, 5: 0}
# Rows whose wait has ended, looked at by one claim at least.
_PROMOTE: Final = 64

_INSERT: Final = (
    "INSERT INTO intent (intent_id, state, priority, rank_us, timed_us, attempts, max_attempts, claim, worker, order_key, "
    "created_us, correlation_id, traceparent, payload, last_error) "
    "VALUES (?, ?, ?, ?, 0, 0, ?, '', '', ?, ?, ?, ?, ?, x'')"
)
_CLAIM: Final = (
    f"UPDATE intent SET state = {IN_FLIGHT}, attempts = attempts + 1, claim = ?, worker = ?, timed_us = ? "  # noqa: S608
    f"WHERE seq IN (SELECT seq FROM intent WHERE state = {READY} ORDER BY rank_us, seq LIMIT ?) "
    "RETURNING rank_us, seq, intent_id, attempts, max_attempts, payload, traceparent"
)
_DUE: Final = (
    "SELECT seq, state, attempts, max_attempts, order_key FROM intent "
    f"WHERE state IN ({SCHEDULED}, {IN_FLIGHT}) AND timed_us <= ? ORDER BY timed_us LIMIT ?"
)
_NEXT_DUE: Final = f"SELECT min(timed_us) FROM intent WHERE state IN ({SCHEDULED}, {IN_FLIGHT})"  # noqa: S608
_HELD: Final = f"WHERE seq = ? AND claim = ? AND state = {IN_FLIGHT}"


def add(tx: Transaction, new: Sequence[NewIntent]) -> None:
    """Queues intents; one behind an unfinished one of its order_key is held back.

    Raises:
        AlreadyExistsError: an intent_id is known.
    """
    try:
        if any(intent.order_key for intent in new):
            for intent in new:
                state = BLOCKED if _has_earlier(tx, intent.order_key) else READY
                tx.execute(_INSERT, _row(tx, intent, state))
        else:
            tx.executemany(_INSERT, [_row(tx, intent, READY) for intent in new])
    except apsw.ConstraintError as error:
        if "intent.intent_id" not in str(error):
            raise
        ids = ", ".join(intent.intent_id for intent in new)
        raise AlreadyExistsError(
            f"intent_id: one of {ids} is in use; ids are unique for all time"
        ) from error
    tx.changes.ready = True


def claim(tx: Transaction, worker: str, limit: int, visibility_us: int) -> Sequence[ClaimedIntent]:
    """Hands out what ranks first, and counts the attempt."""
    if limit <= 0:
        return ()
    _promote(tx, limit)
    visible_us = tx.now_us + visibility_us
    nonce = secrets.token_hex(8)
    rows: list[Row] = tx.execute(_CLAIM, (nonce, worker, visible_us, limit)).fetchall()
    # RETURNING promises no order.
    rows.sort()
    if rows:
        tx.changes.due(visible_us)
    if len(rows) < limit:
        (next_due_us,) = tx.execute(_NEXT_DUE).fetchone() or (None,)
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
    """Marks intents executed; a claim whose time is over still counts while nobody else has the
    intent.
    """
    return [_complete(tx, token) for token in claim_tokens]


def fail(
    tx: Transaction, claim_token: str, error: bytes, retry_in_us: int | None
) -> IntentState | None:
    """Ends an attempt with its error."""
    held = _parse(claim_token)
    row = tx.execute(
        f"SELECT attempts, max_attempts, order_key, priority FROM intent {_HELD}",  # noqa: S608
        held,
    ).fetchone()
    if row is None:
        return None
    attempts, max_attempts, order_key, priority = row
    if retry_in_us is None or attempts >= max_attempts:
        _bury(tx, held[0], error, order_key)
        return IntentState.DEAD
    again_us = tx.now_us + max(0, retry_in_us)
    tx.execute(
        "UPDATE intent SET state = ?, timed_us = ?, rank_us = ?, claim = '', last_error = ? WHERE seq = ?",
        (SCHEDULED, again_us, again_us - _bonus(priority), error, held[0]),
    )
    tx.changes.due(again_us)
    return IntentState.PENDING


def extend(tx: Transaction, claim_tokens: Sequence[str], visibility_us: int) -> Sequence[bool]:
    """Prolongs the visibility timeout of claims."""
    return [_extend(tx, token, tx.now_us + visibility_us) for token in claim_tokens]


def release(tx: Transaction, claim_tokens: Sequence[str]) -> None:
    """Gives claims back; the attempt does not count."""
    for token in claim_tokens:
        tx.execute(
            f"UPDATE intent SET state = {READY}, attempts = attempts - 1, claim = '' {_HELD}",  # noqa: S608
            _parse(token),
        )
    tx.changes.ready = True


def _row(tx: Transaction, intent: NewIntent, state: int) -> tuple[str | int | bytes, ...]:
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
    # The row's number in the token saves an index over tokens; a token that is not ours names no
    # row.
    number, _, nonce = claim_token.partition(".")
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        return -1, ""
    return int(number), nonce


def _complete(tx: Transaction, claim_token: str) -> bool:
    done: list[Row] = tx.execute(
        f"UPDATE intent SET state = {COMPLETED}, timed_us = ? {_HELD} RETURNING order_key",  # noqa: S608
        (tx.now_us, *_parse(claim_token)),
    ).fetchall()
    if not done:
        return False
    _unblock(tx, done[0][0])
    return True


def _extend(tx: Transaction, claim_token: str, until_us: int) -> bool:
    held = tx.execute(
        f"UPDATE intent SET timed_us = ? {_HELD} RETURNING seq",  # noqa: S608
        (until_us, *_parse(claim_token)),
    ).fetchall()
    return bool(held)


def _promote(tx: Transaction, limit: int) -> None:
    due: list[Row] = tx.execute(_DUE, (tx.now_us, max(limit, _PROMOTE))).fetchall()
    for seq, state, attempts, max_attempts, order_key in due:
        if state == IN_FLIGHT and attempts >= max_attempts:
            _bury(tx, seq, _vanished(attempts), order_key)
        else:
            tx.execute("UPDATE intent SET state = ?, claim = '' WHERE seq = ?", (READY, seq))


def _bury(tx: Transaction, seq: int, error: bytes, order_key: str) -> None:
    tx.execute(
        "UPDATE intent SET state = ?, timed_us = ?, claim = '', last_error = ? WHERE seq = ?",
        (DEAD, tx.now_us, error, seq),
    )
    _unblock(tx, order_key)


def _vanished(attempts: int) -> bytes:
    return error_pb2.ErrorDetail(
        reason=OutcomeUnknownError.reason,
        message=f"the worker of attempt {attempts}, the last one, did not report within the visibility timeout; look at "
        "the target before this is redriven",
        status_code=OutcomeUnknownError.default_status,
    ).SerializeToString()


def _has_earlier(tx: Transaction, order_key: str) -> bool:
    if not order_key:
        return False
    rows = tx.execute(
        "SELECT 1 FROM intent WHERE order_key = ? AND order_key <> '' AND state < 5 LIMIT 1",
        (order_key,),
    )
    return rows.fetchone() is not None


def _unblock(tx: Transaction, order_key: str) -> None:
    if not order_key:
        return
    freed = tx.execute(
        f"UPDATE intent SET state = {READY} WHERE state = {BLOCKED} AND seq = "  # noqa: S608
        "(SELECT seq FROM intent WHERE order_key = ? AND order_key <> '' AND state < 5 ORDER BY seq LIMIT 1) "
        "RETURNING seq",
        (order_key,),
    ).fetchall()
    if freed:
        tx.changes.ready = True
