"""Positions in the log of events, and which of them can be gone on from."""

from __future__ import annotations

from typing import NamedTuple

from onex_grpc.errors import EventPositionError, EventPositionExpiredError


class EventSpan(NamedTuple):
    """The span of a topic in a log.

    Attributes:
        expired: the topic's last position that was purged; 0 where none was.
        first: the topic's first event that is kept; 0 where none is.
        head: the topic's last event that is kept; 0 where none is.
        end: the last position of the log, whatever its topic.
    """

    expired: int
    first: int
    head: int
    end: int


def expired_position(topic: str, after: int, span: EventSpan) -> EventPositionExpiredError:
    """Return the refusal to read on from a position after which events were purged."""
    first = span.first or span.expired + 1
    return EventPositionExpiredError(
        f"events of topic {topic} after {after} are no longer kept (retention.events); the first "
        f"position that is available is {first}: read again what the events told of, then "
        f"subscribe after {first - 1}",
        context={
            "topic": topic,
            "after_sequence": str(after),
            "first_available": str(first),
        },
    )


def check_position(topic: str, after: int, span: EventSpan) -> None:
    """Refuse a position that a reader of this log cannot have reached, or not go on from.

    Raises:
        EventPositionExpiredError: when events after it were purged.
        EventPositionError: when the log has not come so far.
    """
    if after < span.expired:
        raise expired_position(topic, after, span)
    if after > span.end:
        raise EventPositionError(
            f"position {after} is beyond the end of the log, {span.end}: it is that of another "
            "log, or the store was restored from a backup that is older; subscribe after a "
            f"position that was read before the backup, or after {span.end} for what comes now",
            context={"topic": topic, "after_sequence": str(after), "end": str(span.end)},
        )
