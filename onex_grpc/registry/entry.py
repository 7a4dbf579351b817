"""A process as it says of itself, and as the store keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex.v1 import registry_pb2
from onex_grpc.contract.node import node_name
from onex_grpc.store.model import NodeEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


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
) -> Sequence[registry_pb2.RegisteredNode]:
    """The processes of the kind and of the name that are asked for."""
    return [
        node
        for node in nodes
        if asked.node_type in (0, node.node.node_type) and asked.name in ("", node.node.name)
    ]
