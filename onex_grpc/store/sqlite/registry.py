"""The registry in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store.model import NodeEntries, NodeEntry
from onex_grpc.store.registry_rules import NODES_TOPIC, admitted

if TYPE_CHECKING:
    import apsw

    from onex_grpc.store.sqlite.transaction import Row, Transaction

_OF_NODE: Final = (
    "SELECT node, instance, store_id, registrar, payload, registered_us FROM node "
    "WHERE node = ? ORDER BY instance"
)
# One statement, so that the revision is that of the rows.
_ALL: Final = (
    "SELECT revision, node, instance, store_id, registrar, payload, registered_us "
    "FROM registry LEFT JOIN node ON true ORDER BY node, instance"
)
_REVISION: Final = "SELECT revision FROM registry"
_PUT: Final = (
    "INSERT OR REPLACE INTO node (node, instance, store_id, registrar, payload, registered_us) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)


def register(tx: Transaction, entry: NodeEntry) -> NodeEntry:
    """Adds a process, or replaces its entry; one that says the same again is no change.

    Raises:
        StoreInUseError: another entry of the node has another store_id.
    """
    rows: list[Row] = tx.execute(_OF_NODE, (entry.node,)).fetchall()
    known = [NodeEntry(*row) for row in rows]
    kept = admitted(entry, known, tx.now_us)
    if kept not in known:
        tx.execute(
            _PUT,
            (
                kept.node,
                kept.instance,
                kept.store_id,
                kept.registrar,
                kept.payload,
                kept.registered_us,
            ),
        )
        _changed(tx)
    return kept


def unregister(tx: Transaction, node: str, instance: str, registrar: str) -> bool:
    """Removes a process of this registrar; False where there is none."""
    tx.execute(
        "DELETE FROM node WHERE node = ? AND instance = ? AND registrar = ?",
        (node, instance, registrar),
    )
    return _removed(tx) == 1


def forget(tx: Transaction, registrar: str) -> int:
    """Removes all processes of a registrar; returns how many."""
    tx.execute("DELETE FROM node WHERE registrar = ?", (registrar,))
    return _removed(tx)


def entries(connection: apsw.Connection) -> NodeEntries:
    """All that are registered."""
    rows: list[Row] = connection.execute(_ALL).fetchall()
    found = [NodeEntry(*row[1:]) for row in rows if row[1] is not None]
    return NodeEntries(rows[0][0], found)


def revision(connection: apsw.Connection) -> int:
    """The number of the registry's last change."""
    (number,) = connection.execute(_REVISION).fetchone() or (0,)
    return int(number)


def _removed(tx: Transaction) -> int:
    removed = tx.connection.changes()
    if removed:
        _changed(tx)
    return removed


def _changed(tx: Transaction) -> None:
    tx.execute("UPDATE registry SET revision = revision + 1")
    tx.changes.topics.add(NODES_TOPIC)
