"""Rules of reducer.proto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex.v1 import reducer_pb2
from onex_grpc.contract.rule import Rule, between, optional_uuid, present, text
from onex_grpc.contract.rules.common import LARGEST_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

_STATE_KEY: Final = text("state_key", 200)

RULES: Final[Mapping[type[Message], Sequence[Rule]]] = {
    reducer_pb2.ModelContractReducer: (
        optional_uuid("correlation_id"),
        present("reduction_config"),
        present("input_data"),
        optional_uuid("action_id"),
    ),
    reducer_pb2.ReductionConfig: (_STATE_KEY,),
    reducer_pb2.ReducerInput: (text("action", 128),),
    reducer_pb2.GetStateRequest: (_STATE_KEY,),
    reducer_pb2.ListStateHistoryRequest: (
        _STATE_KEY,
        between("after_version", 0, LARGEST_VERSION),
    ),
}
