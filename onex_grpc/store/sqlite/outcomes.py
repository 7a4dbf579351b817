"""Outcomes of keyed effects, and the process's secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.store.model import IdempotencyRecord

if TYPE_CHECKING:
    from onex_grpc.store.sqlite.transaction import Transaction

SELECT_OUTCOME = "SELECT content_hash, reply FROM outcome WHERE key = ?"


def record(tx: Transaction, key: str, outcome: IdempotencyRecord) -> IdempotencyRecord:
    """Records an outcome; returns the one that was there first."""
    row = tx.execute(SELECT_OUTCOME, (key,)).fetchone()
    if row is not None:
        return IdempotencyRecord(*row)
    tx.execute(
        "INSERT INTO outcome (key, content_hash, reply, recorded_us) VALUES (?, ?, ?, ?)",
        (key, outcome.content_hash, outcome.reply, tx.now_us),
    )
    return outcome


def secret(tx: Transaction, name: str, fresh: bytes) -> bytes:
    """The stored secret; stores `fresh` where there is none."""
    row = tx.execute("SELECT value FROM secret WHERE name = ?", (name,)).fetchone()
    if row is not None:
        stored: bytes = row[0]
        return stored
    tx.execute("INSERT INTO secret (name, value) VALUES (?, ?)", (name, fresh))
    return fresh
