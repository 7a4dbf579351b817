"""Outcomes of keyed effects, and the process's secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store.model import IdempotencyRecord

if TYPE_CHECKING:
    from onex_grpc.store.postgres.transaction import Transaction

SELECT_OUTCOME: Final = "SELECT content_hash, reply FROM outcome WHERE key = %s"


def record(tx: Transaction, key: str, outcome: IdempotencyRecord) -> IdempotencyRecord:
    """Records an outcome; returns the one that was there first."""
    row = tx.row(SELECT_OUTCOME, (key,))
    if row is not None:
        return IdempotencyRecord(*row)
    tx.write(
        "INSERT INTO outcome (key, content_hash, reply, recorded_us) VALUES (%s, %s, %s, %s)",
        (key, outcome.content_hash, outcome.reply, tx.now_us),
    )
    return outcome


def secret(tx: Transaction, name: str, fresh: bytes) -> bytes:
    """The stored secret; stores `fresh` where there is none."""
    row = tx.row("SELECT value FROM secret WHERE name = %s", (name,))
    if row is not None:
        stored: bytes = row[0]
        return stored
    tx.write("INSERT INTO secret (name, value) VALUES (%s, %s)", (name, fresh))
    return fresh
