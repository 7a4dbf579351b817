"""Rules of effect.proto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from onex.v1 import effect_pb2
from onex_grpc.contract.rule import (
    Found,
    Rule,
    count,
    optional_matching,
    optional_uuid,
    positive,
    present,
)
from onex_grpc.contract.rule import text as text_rule
from onex_grpc.contract.rules.common import VISIBLE_ASCII
from onex_grpc.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message


def _target_named(message: Message, found: Found) -> None:
    contract = cast("effect_pb2.ModelContractEffect", message)
    operation = contract.io_operation_config.operation.WhichOneof("operation")
    if operation != "custom" and not contract.external_service_config.service_name:
        found.append(
            Violation(
                "external_service_config.service_name",
                "is empty; name a target of the effect node's settings",
            )
        )


RULES: Final[Mapping[type[Message], Sequence[Rule]]] = {
    effect_pb2.ModelContractEffect: (
        optional_uuid("correlation_id"),
        present("io_operation_config"),
        # A custom operation may do without a target: it is found by the type of its message.
        _target_named,
    ),
    effect_pb2.ExternalServiceConfig: (
        text_rule("service_name", 128, shortest=0),
        positive("timeout"),
    ),
    effect_pb2.IoOperationConfig: (
        present("operation"),
        optional_matching("idempotency_key", VISIBLE_ASCII),
    ),
    effect_pb2.ExecuteIntentsRequest: (count("intents", 0, 1000),),
}
