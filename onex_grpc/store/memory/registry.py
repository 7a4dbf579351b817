"""The registry in memory. Each function is an operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store.registry_rules import NODES_TOPIC, admitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.memory.transaction import Transaction
    from onex_grpc.store.model import NodeEntry

REVISION: Final = "registry"
"""The counter of the registry's changes."""


def register(tx: Transaction, entry: NodeEntry) -> NodeEntry:
    """Adds a process, or replaces its entry; one that says the same again is no change.

    Raises:
        StoreInUseError: another entry of the node has another store_id.
    """
    nodes = tx.tables.nodes
    known = sorted(
        (each for each in nodes.values() if each.node == entry.node),
        key=lambda each: each.instance,
    )
    kept = admitted(entry, known, tx.now_us)
    if kept not in known:
        tx.put(nodes, (kept.node, kept.instance), kept)
        _changed(tx)
    return kept


def unregister(tx: Transaction, node: str, instance: str, registrar: str) -> bool:
    """Removes a process of this registrar; False where there is none."""
    known = tx.tables.nodes.get((node, instance))
    return known is not None and known.registrar == registrar and _remove(tx, [known]) == 1


def forget(tx: Transaction, registrar: str) -> int:
    """Removes all processes of a registrar; returns how many."""
    return _remove(tx, [each for each in tx.tables.nodes.values() if each.registrar == registrar])


def _remove(tx: Transaction, entries: Sequence[NodeEntry]) -> int:
    for each in entries:
        tx.remove(tx.tables.nodes, (each.node, each.instance))
    if entries:
        _changed(tx)
    return len(entries)


def _changed(tx: Transaction) -> None:
    tx.next_number(REVISION)
    tx.changes.topics.add(NODES_TOPIC)
