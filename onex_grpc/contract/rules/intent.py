"""Rules of intent.proto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from onex.v1 import intent_pb2, operation_pb2
from onex_grpc.contract.node import INSTANCE_PATTERN, NODE_PATTERN
from onex_grpc.contract.route import MOST_ROUTES, ROUTE_PATTERN
from onex_grpc.contract.rule import (
    Found,
    Rule,
    among,
    between,
    count,
    each_matching,
    each_uuid,
    matching,
    one_of,
    optional_matching,
    optional_uuid,
    present,
    text,
    unbuilt,
    uuid,
)
from onex_grpc.contract.rules.common import VISIBLE_ASCII
from onex_grpc.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

_TYPE_OF_OPERATION: Final = {
    "database": intent_pb2.INTENT_TYPE_DATABASE_WRITE,
    "file": intent_pb2.INTENT_TYPE_FILE_OPERATION,
    "message": intent_pb2.INTENT_TYPE_MESSAGE_PUBLISH,
    "notification": intent_pb2.INTENT_TYPE_NOTIFICATION,
    "custom": intent_pb2.INTENT_TYPE_UNSPECIFIED,
}
_UNBUILT_TYPES: Final[Mapping[int, str]] = {
    intent_pb2.INTENT_TYPE_API_CALL: "API_CALL is not built: no operation calls APIs yet",
    intent_pb2.INTENT_TYPE_CACHE_UPDATE: "CACHE_UPDATE is not built: no operation for caches yet",
}
_CLAIM_TOKEN: Final = text("claim_token", 200)


def _type_agrees(message: Message, found: Found) -> None:
    intent = cast("intent_pb2.ModelIntent", message)
    operation = intent.payload.WhichOneof("operation")
    if operation is None or intent.intent_type in _UNBUILT_TYPES:
        return
    expected = _TYPE_OF_OPERATION[operation]
    if intent.intent_type != expected:
        name = intent_pb2.IntentType.Name(expected)
        found.append(
            Violation("intent_type", f"does not agree with the payload's {operation}; give {name}")
        )


def _target_named(message: Message, found: Found) -> None:
    intent = cast("intent_pb2.ModelIntent", message)
    if not intent.target and intent.payload.WhichOneof("operation") != "custom":
        found.append(Violation("target", "is empty; name a target of the effect node's settings"))


def _no_reads(message: Message, found: Found) -> None:
    payload: operation_pb2.EffectOperation = cast("intent_pb2.ModelIntent", message).payload
    operation = payload.WhichOneof("operation")
    if operation == "database":
        found.extend(
            Violation(
                f"payload.database.statements[{index}].select", "reads; an intent only writes"
            )
            for index, statement in enumerate(payload.database.statements)
            if statement.WhichOneof("statement") == "select"
        )
    elif operation == "file" and payload.file.WhichOneof("action") == "read":
        found.append(Violation("payload.file.read", "reads; an intent only writes"))


def _some_or_all(message: Message, found: Found) -> None:
    request = cast("intent_pb2.RedriveIntentsRequest", message)
    if request.all and request.intent_ids:
        found.append(Violation("all", "does not go with intent_ids; set one of them"))
    elif not request.all and not request.intent_ids:
        found.append(Violation("intent_ids", "is empty; name some, or set all"))


def _any_named(message: Message, found: Found) -> None:
    request = cast("intent_pb2.CancelIntentsRequest", message)
    if not request.intent_ids and not request.action_ids:
        found.append(Violation("intent_ids", "is empty, and so are action_ids; name some"))


RULES: Final[Mapping[type[Message], Sequence[Rule]]] = {
    intent_pb2.ModelIntent: (
        uuid("intent_id"),
        unbuilt("intent_type", _UNBUILT_TYPES),
        _type_agrees,
        text("target", 128, shortest=0),
        _target_named,
        present("payload"),
        _no_reads,
        optional_uuid("correlation_id"),
        optional_matching("idempotency_key", VISIBLE_ASCII),
        text("order_key", 200, shortest=0),
    ),
    intent_pb2.TakeIntentsRequest: (one_of("message"),),
    intent_pb2.TakeIntentsHello: (
        matching("worker", rf"{NODE_PATTERN}(?:/{INSTANCE_PATTERN})?"),
        count("held_claim_tokens", 0, 10_000),
        each_matching("held_claim_tokens", VISIBLE_ASCII),
        count("accepts", 0, MOST_ROUTES),
        each_matching("accepts", ROUTE_PATTERN),
    ),
    intent_pb2.TakeIntentsCredit: (between("count", 1, 1000),),
    intent_pb2.TakeIntentsComplete: (_CLAIM_TOKEN,),
    intent_pb2.TakeIntentsFail: (_CLAIM_TOKEN, present("error")),
    intent_pb2.TakeIntentsExtend: (_CLAIM_TOKEN,),
    intent_pb2.RedriveIntentsRequest: (
        count("intent_ids", 0, 1000),
        each_uuid("intent_ids"),
        _some_or_all,
    ),
    intent_pb2.CancelIntentsRequest: (
        count("intent_ids", 0, 1000),
        count("action_ids", 0, 1000),
        each_uuid("intent_ids"),
        each_uuid("action_ids"),
        _any_named,
    ),
    intent_pb2.ListIntentsRequest: (
        among(
            "status",
            (
                intent_pb2.INTENT_STATUS_PENDING,
                intent_pb2.INTENT_STATUS_IN_FLIGHT,
                intent_pb2.INTENT_STATUS_COMPLETED,
                intent_pb2.INTENT_STATUS_DEAD,
                intent_pb2.INTENT_STATUS_CANCELLED,
            ),
        ),
        between("page_size", 0, 1000),
        text("page_token", 200, shortest=0),
    ),
}
