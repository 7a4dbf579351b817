"""The log of events in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.errors import AlreadyExistsError
from onex_grpc.store.event_content import same_event
from onex_grpc.store.model import NewEvent, StoredEvent

if TYPE_CHECKING:
    from onex_grpc.store.postgres.transaction import Transaction

SELECT_EVENT: Final = (
    "SELECT seq, payload, published_us FROM event WHERE topic = %s AND event_id = %s"
)


def publish(tx: Transaction, event: NewEvent) -> StoredEvent:
    """Adds an event; the same one again gives the first.

    Raises:
        AlreadyExistsError: its id is known in the topic with another payload.
    """
    # Sequences are taken in one order and become visible in another: a reader that has seen a later
    # event would never see an earlier one. So whoever takes one keeps the others out until then.
    tx.lock("event")
    row = tx.row(SELECT_EVENT, (event.topic, event.event_id))
    if row is not None:
        known = StoredEvent(*row)
        if not same_event(known.payload, event.payload):
            raise AlreadyExistsError(
                f"event_id {event.event_id} was published in topic {event.topic} with other "
                "content; take a new id",
                context={"topic": event.topic, "event_id": event.event_id},
            )
        return known
    ((sequence,),) = tx.write_rows(
        "INSERT INTO event (topic, event_id, published_us, payload) VALUES (%s, %s, %s, %s) "
        "RETURNING seq",
        (event.topic, event.event_id, tx.now_us, event.payload),
    )
    tx.changes.topics.add(event.topic)
    return StoredEvent(sequence, event.payload, tx.now_us)
