"""Rules of node.proto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex.v1 import node_pb2
from onex_grpc.contract.node import NAME_PATTERN, SEMVER_PATTERN, TARGET_PATTERN
from onex_grpc.contract.rule import Rule, chosen, each_matching, matching, optional_matching

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_FULL_NAME: Final = rf"{_NAME}(?:\.{_NAME})*"

RULES: Final[Mapping[type[Message], Sequence[Rule]]] = {
    node_pb2.NodeDescriptor: (
        matching("name", NAME_PATTERN),
        chosen("node_type"),
        matching("version", SEMVER_PATTERN),
        each_matching("depends_on", TARGET_PATTERN),
    ),
    node_pb2.NodeContract: (
        matching("service", _FULL_NAME),
        matching("fingerprint", rf"{SEMVER_PATTERN}:[0-9a-f]{{12}}"),
        optional_matching("state", _FULL_NAME),
        each_matching("emits", rf"{_FULL_NAME}/{_NAME}"),
    ),
}
