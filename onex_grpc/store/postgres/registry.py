"""The registry in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store.model import NodeEntries, NodeEntry
from onex_grpc.store.registry_rules import NODES_TOPIC, admitted

if TYPE_CHECKING:
    from onex_grpc.store.postgres.reader import Session
    from onex_grpc.store.postgres.transaction import Transaction

_OF_NODE: Final = (
    "SELECT node, instance, store_id, registrar, payload, registered_us FROM node "
    "WHERE node = %s ORDER BY instance"
)
# One statement, so that the revision is that of the rows.
_ALL: Final = (
    "SELECT revision, node, instance, store_id, registrar, payload, registered_us "
    "FROM registry LEFT JOIN node ON true ORDER BY node, instance"
)
_REVISION: Final = "SELECT revision FROM registry"
# Whoever changes the registry keeps the others out until its commit is visible: revisions are seen
# in their order, and of two stores of one node only one gets in.
_LOCK: Final = "SELECT revision FROM registry FOR UPDATE"
_PUT: Final = (
    "INSERT INTO node (node, instance, store_id, registrar, payload, registered_us) "
    "VALUES (%s, %s, %s, %s, %s, %s) "
    "ON CONFLICT (node, instance) DO UPDATE SET store_id = excluded.store_id, "
    "registrar = excluded.registrar, payload = excluded.payload"
)


def register(tx: Transaction, entry: NodeEntry) -> NodeEntry:
    """Adds a process, or replaces its entry; one that says the same again is no change.

    Raises:
        StoreInUseError: another entry of the node has another store_id.
    """
    _lock(tx)
    rows = tx.rows(_OF_NODE, (entry.node,))
    known = [NodeEntry(*row) for row in rows]
    kept = admitted(entry, known, tx.now_us)
    if kept not in known:
        tx.write(
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
    _lock(tx)
    removed = tx.write_rows(
        "DELETE FROM node WHERE node = %s AND instance = %s AND registrar = %s RETURNING 1",
        (node, instance, registrar),
    )
    if removed:
        _changed(tx)
    return len(removed) == 1


def forget(tx: Transaction, registrar: str) -> int:
    """Removes all processes of a registrar; returns how many."""
    _lock(tx)
    removed = tx.write_rows("DELETE FROM node WHERE registrar = %s RETURNING 1", (registrar,))
    if removed:
        _changed(tx)
    return len(removed)


def entries(session: Session) -> NodeEntries:
    """All that are registered."""
    rows = session.rows(_ALL)
    found = [NodeEntry(*row[1:]) for row in rows if row[1] is not None]
    return NodeEntries(rows[0][0], found)


def revision(session: Session) -> int:
    """The number of the registry's last change."""
    row = session.row(_REVISION)
    return int(row[0]) if row is not None else 0


def _lock(tx: Transaction) -> None:
    tx.lock_row(_LOCK, ())
    # Also where nothing will change: this may repeat a call whose commit was never answered, and
    # of which nobody in this process knows.
    tx.changes.topics.add(NODES_TOPIC)


def _changed(tx: Transaction) -> None:
    tx.write("UPDATE registry SET revision = revision + 1")
