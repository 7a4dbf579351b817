"""The log of events in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store.event_content import check_repeat
from onex_grpc.store.model import NewEvent, StoredEvent

if TYPE_CHECKING:
    from onex_grpc.store.sqlite.transaction import Transaction

SELECT_EVENT: Final = (
    "SELECT seq, payload, published_us FROM event WHERE topic = ? AND event_id = ?"
)


def publish(tx: Transaction, event: NewEvent) -> StoredEvent:
    """Adds an event; the same one again gives the first.

    Raises:
        AlreadyExistsError: its id is known in the topic with another payload.
    """
    row = tx.execute(SELECT_EVENT, (event.topic, event.event_id)).fetchone()
    if row is not None:
        known = StoredEvent(*row)
        check_repeat(known, event)
        return known
    tx.execute(
        "INSERT INTO event (topic, event_id, published_us, payload) VALUES (?, ?, ?, ?)",
        (event.topic, event.event_id, tx.now_us, event.payload),
    )
    tx.changes.topics.add(event.topic)
    return StoredEvent(tx.connection.last_insert_rowid(), event.payload, tx.now_us)
