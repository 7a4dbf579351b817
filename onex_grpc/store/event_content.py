"""When two events of one id are one event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from onex.v1 import event_pb2
from onex_grpc.contract.canonical import canonical_bytes
from onex_grpc.errors import AlreadyExistsError

if TYPE_CHECKING:
    from onex_grpc.store.model import NewEvent, StoredEvent


def check_repeat(known: StoredEvent, again: NewEvent) -> None:
    """Lets an event through that is the known one of its id again.

    Raises:
        AlreadyExistsError: its id is known in the topic with another payload.
    """
    if not same_event(known.payload, again.payload):
        raise AlreadyExistsError(
            f"event_id {again.event_id} was published in topic {again.topic} with other "
            "content; take a new id",
            context={"topic": again.topic, "event_id": again.event_id},
        )


def same_event(known: bytes, again: bytes) -> bool:
    """Whether two serialised events say the same.

    The correlation id is that of the call: who repeats an event after a lost answer may have a new
    one, and still means the same event.
    """
    return known == again or _content(known) == _content(again) is not None


def _content(payload: bytes) -> bytes | None:
    try:
        event = event_pb2.Event.FromString(payload)
    except DecodeError:
        return None
    event.ClearField("correlation_id")
    return canonical_bytes(event)
