"""When two events of one id are one event."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from onex.v1 import event_pb2


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
    return event.SerializeToString(deterministic=True)
