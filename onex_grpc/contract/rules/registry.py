"""Rules of registry.proto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from onex.v1 import registry_pb2
from onex_grpc.contract.address import address_fault
from onex_grpc.contract.node import INSTANCE_PATTERN, NAME_PATTERN
from onex_grpc.contract.rule import (
    Found,
    Rule,
    optional_matching,
    optional_uuid,
    present,
)
from onex_grpc.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

_MOST_BYTES: Final = 64 * 1024
_SELECTION: Final = (optional_matching("name", NAME_PATTERN),)


def _reachable(message: Message, found: Found) -> None:
    if fault := address_fault(cast("registry_pb2.RegisteredNode", message).address):
        found.append(Violation("address", fault))


def _said_by_a_process(message: Message, found: Found) -> None:
    node = cast("registry_pb2.RegisterNodeRequest", message).node
    if node.HasField("registered_at"):
        found.append(Violation("node.registered_at", "is given by the registry; leave it unset"))
    # Everybody who follows the registry gets it with each change.
    if (size := node.ByteSize()) > _MOST_BYTES:
        found.append(Violation("node", f"has {size} bytes; {_MOST_BYTES} are allowed"))


RULES: Final[Mapping[type[Message], Sequence[Rule]]] = {
    registry_pb2.RegisteredNode: (
        present("node"),
        optional_matching("instance", INSTANCE_PATTERN),
        _reachable,
        optional_uuid("store_id"),
    ),
    registry_pb2.RegisterNodeRequest: (present("node"), _said_by_a_process),
    registry_pb2.ListNodesRequest: _SELECTION,
    registry_pb2.WatchNodesRequest: _SELECTION,
}
