"""A process as it says of itself, and as the store keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex.v1 import registry_pb2
from onex_grpc.contract.node import node_name
from onex_grpc.store.model import NodeEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_FRAME_BYTES: Final = 8
"""What a message adds to each node in it, at most."""


def to_entry(node: registry_pb2.RegisteredNode, registrar: str) -> NodeEntry:
    """What the store keeps of a process that is registered by `registrar`."""
    return NodeEntry(
        node=node_name(node.node),
        instance=node.instance,
        store_id=node.store_id,
        registrar=registrar,
        payload=node.SerializeToString(deterministic=True),
    )


def to_node(entry: NodeEntry) -> registry_pb2.RegisteredNode:
    """The process that the store keeps."""
    node = registry_pb2.RegisteredNode.FromString(entry.payload)
    node.registered_at.FromMicroseconds(entry.registered_us)
    return node


def select(
    nodes: Iterable[registry_pb2.RegisteredNode],
    asked: registry_pb2.ListNodesRequest | registry_pb2.WatchNodesRequest,
    message_bytes: int,
) -> Sequence[registry_pb2.RegisteredNode]:
    """The processes of the kind and of the name that are asked for, cut to fit into a message."""
    selected = [
        node
        for node in nodes
        if asked.node_type in (0, node.node.node_type) and asked.name in ("", node.node.name)
    ]
    if sum(node.ByteSize() + _FRAME_BYTES for node in selected) <= message_bytes:
        return selected
    share = message_bytes // len(selected)
    # One that says much takes nothing from the others, let alone all addresses from everybody.
    return [
        node if node.ByteSize() + _FRAME_BYTES <= share else _shortened(node) for node in selected
    ]


def _shortened(node: registry_pb2.RegisteredNode) -> registry_pb2.RegisteredNode:
    short = registry_pb2.RegisteredNode()
    short.CopyFrom(node)
    for field in ("depends_on", "services", "operations", "contract"):
        short.node.ClearField(field)
    return short
