"""Events, outcomes of keyed effects and secrets in memory. Each function is an operation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.store.event_content import check_repeat
from onex_grpc.store.model import StoredEvent

if TYPE_CHECKING:
    from onex_grpc.store.memory.transaction import Transaction
    from onex_grpc.store.model import IdempotencyRecord, NewEvent


def publish(tx: Transaction, event: NewEvent) -> StoredEvent:
    """Adds an event; the same one again gives the first.

    Raises:
        AlreadyExistsError: its id is known in the topic with another payload.
    """
    key = (event.topic, event.event_id)
    known = tx.tables.events.get(key)
    if known is not None:
        check_repeat(known, event)
        return known
    stored = StoredEvent(tx.next_number("event"), event.payload, tx.now_us)
    tx.put(tx.tables.events, key, stored)
    if event.topic not in tx.tables.topics:
        tx.put(tx.tables.topics, event.topic, [])
    tx.append(tx.tables.topics[event.topic], stored)
    tx.changes.topics.add(event.topic)
    return stored


def record_outcome(tx: Transaction, key: str, outcome: IdempotencyRecord) -> IdempotencyRecord:
    """Records an outcome; returns the one that was there first."""
    if key not in tx.tables.outcomes:
        tx.put(tx.tables.outcomes, key, outcome)
        tx.put(tx.tables.recorded_us, key, tx.now_us)
    return tx.tables.outcomes[key]


def secret(tx: Transaction, name: str, fresh: bytes) -> bytes:
    """The stored secret; stores `fresh` where there is none."""
    if name not in tx.tables.secrets:
        tx.put(tx.tables.secrets, name, fresh)
    return tx.tables.secrets[name]
