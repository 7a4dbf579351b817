"""Rules of compute.proto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from onex.v1 import compute_pb2
from onex_grpc.contract.rule import (
    Found,
    Rule,
    count,
    each_matching,
    entry,
    keys,
    optional_uuid,
    present,
    text,
)
from onex_grpc.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

_FIELD_NAME: Final = r"(?s).{1,200}"


def _data_types_chosen(message: Message, found: Found) -> None:
    for field, data_type in cast("compute_pb2.InputValidation", message).data_types.items():
        if not data_type:
            fault = "is unspecified; give the type that the field must have"
            found.append(Violation(entry("data_types", field), fault))


RULES: Final[Mapping[type[Message], Sequence[Rule]]] = {
    compute_pb2.ModelContractCompute: (
        optional_uuid("correlation_id"),
        present("algorithm_config"),
    ),
    compute_pb2.AlgorithmConfig: (text("algorithm_type", 128),),
    compute_pb2.InputValidation: (
        count("required_fields", 0, 1000),
        each_matching("required_fields", _FIELD_NAME),
        count("data_types", 0, 1000),
        keys("data_types", 200),
        _data_types_chosen,
    ),
}
