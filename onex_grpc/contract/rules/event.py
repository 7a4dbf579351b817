"""Rules of event.proto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex.v1 import event_pb2
from onex_grpc.contract.rule import Found, Rule, between, matching, optional_uuid, present, text
from onex_grpc.contract.rules.common import VISIBLE_ASCII
from onex_grpc.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

_TOPIC: Final = matching("topic", r"[A-Za-z0-9._-]{1,128}")
_LARGEST_SEQUENCE: Final = 2**63 - 1


def _given_by_the_bus(message: Message, found: Found) -> None:
    event: event_pb2.Event = getattr(message, "event")  # noqa: B009 - a rule knows no message type
    if event.sequence:
        found.append(Violation("event.sequence", "is given by the bus; leave it 0"))
    if event.HasField("published_at"):
        found.append(Violation("event.published_at", "is given by the bus; leave it unset"))


RULES: Final[Mapping[type[Message], Sequence[Rule]]] = {
    event_pb2.Event: (
        matching("event_id", VISIBLE_ASCII),
        _TOPIC,
        text("event_type", 200),
        text("key", 1024, shortest=0),
        optional_uuid("correlation_id"),
    ),
    event_pb2.PublishRequest: (present("event"), _given_by_the_bus),
    event_pb2.SubscribeRequest: (_TOPIC, between("after_sequence", 0, _LARGEST_SEQUENCE)),
}
