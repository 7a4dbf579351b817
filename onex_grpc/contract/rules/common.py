"""Rules of common.proto and of the well-known types that the contracts use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from onex.v1 import common_pb2
from onex_grpc.contract.rule import (
    Found,
    Rule,
    count,
    entry,
    keys,
    optional_between,
    positive,
)
from onex_grpc.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

WORKFLOW_ID: Final = r"[A-Za-z0-9._:-]{1,128}"
LARGEST_VERSION: Final = 2**63 - 1
VISIBLE_ASCII: Final = r"[!-~]{1,200}"

_LONGEST_METADATA_VALUE: Final = 4096
# The bounds of timestamp.proto and duration.proto: years 1 to 9999, and about 10,000 years.
_EARLIEST, _LATEST = -62_135_596_800, 253_402_300_799
_LONGEST = 315_576_000_000


def _timestamp(message: Message, found: Found) -> None:
    time = cast("Timestamp", message)
    if not (_EARLIEST <= time.seconds <= _LATEST and 0 <= time.nanos < 1_000_000_000):
        found.append(Violation("", "is not a time between the years 1 and 9999"))


def _duration(message: Message, found: Found) -> None:
    span = cast("Duration", message)
    opposed = (span.seconds > 0 > span.nanos) or (span.seconds < 0 < span.nanos)
    if opposed or abs(span.seconds) > _LONGEST or abs(span.nanos) >= 1_000_000_000:
        found.append(Violation("", "is not a valid duration (google.protobuf.Duration)"))


def _any(message: Message, found: Found) -> None:
    url = cast("Any", message).type_url
    if not url.rpartition("/")[2] or "/" not in url:
        found.append(
            Violation(
                "type_url", f"{url[:60]!r} names no type; write type.googleapis.com/<full name>"
            )
        )


def _metadata_values(message: Message, found: Found) -> None:
    for key, value in cast("common_pb2.Metadata", message).entries.items():
        if len(value) > _LONGEST_METADATA_VALUE:
            fault = f"has {len(value)} characters; at most {_LONGEST_METADATA_VALUE} are allowed"
            found.append(Violation(entry("entries", key), fault))


RULES: Final[Mapping[type[Message], Sequence[Rule]]] = {
    Timestamp: (_timestamp,),
    Duration: (_duration,),
    Any: (_any,),
    common_pb2.RetryPolicy: (
        optional_between("max_retries", 0, 100),
        positive("initial_backoff"),
        positive("max_backoff"),
        optional_between("multiplier", 1, 10),
    ),
    common_pb2.Metadata: (count("entries", 0, 64), keys("entries", 128), _metadata_values),
}
