"""Rules of error.proto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex.v1 import error_pb2
from onex_grpc.contract.rule import Rule, between, optional_uuid, text
from onex_grpc.errors import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

RULES: Final[Mapping[type[Message], Sequence[Rule]]] = {
    error_pb2.ErrorDetail: (
        optional_uuid("correlation_id"),
        text("reason", 128, shortest=0),
        between("status_code", 0, max(Status)),
    ),
}
