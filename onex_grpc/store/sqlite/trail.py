"""What is read of the history and the audit trail of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store.model import HistoryEntry, LoggedAction, StateRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from onex_grpc.store.sqlite.transaction import Row

_BY_VERSION: Final = (
    "SELECT h.version, h.state, h.state_type FROM state s "
    "JOIN history h ON h.state_id = s.id WHERE s.key = ? AND h.version = ?"
)
_BY_NAME: Final = (
    "SELECT h.version, h.state, h.state_type FROM state s "
    "JOIN checkpoint c ON c.state_id = s.id "
    "JOIN history h ON h.state_id = s.id AND h.version = c.version "
    "WHERE s.key = ? AND c.name = ?"
)
HISTORY: Final = (
    "SELECT h.version, h.kind, h.written_us, h.fence, h.holder, h.lease_id, h.action_id, "
    "h.parent_action_id, h.state_type, h.state FROM state s "
    "JOIN history h ON h.state_id = s.id WHERE s.key = ? AND h.version > ? "
    "ORDER BY h.version LIMIT ?"
)
_PINS: Final = (
    "SELECT c.version, c.name FROM state s JOIN checkpoint c ON c.state_id = s.id "
    "WHERE s.key = ? AND c.version > ? ORDER BY c.name"
)
# The index over scopes has all of the inner one; rows are read for one page only.
ACTIONS: Final = (
    "SELECT id, action_id, action_type, target, correlation_id, parent_action_id, fence, holder, "
    "lease_id, basis, epoch, error, issued_us, finished_us FROM action WHERE id IN "
    "(SELECT id FROM action WHERE scope = ? AND id > ? ORDER BY id LIMIT ?) ORDER BY id"
)


def select_version(key: str, to: int | str) -> tuple[str, tuple[str, int | str]]:
    """The statement and bindings that find a kept version, or the one that a checkpoint pins."""
    return (_BY_VERSION if isinstance(to, int) else _BY_NAME), (key, to)


def state_at(connection: apsw.Connection, key: str, to: int | str) -> StateRow | None:
    """The content of a kept version."""
    row = connection.execute(*select_version(key, to)).fetchone()
    return None if row is None else StateRow(*row)


def history(
    connection: apsw.Connection, key: str, after: int, limit: int
) -> Sequence[HistoryEntry]:
    """The kept versions of a key, in their order."""
    rows: list[Row] = connection.execute(HISTORY, (key, after, max(0, limit))).fetchall()
    pins: list[Row] = connection.execute(_PINS, (key, after)).fetchall()
    names: dict[int, list[str]] = {}
    for version, name in pins:
        names.setdefault(version, []).append(name)
    return [HistoryEntry(*(*row, tuple(names.get(row[0], ())))) for row in rows]


def actions(
    connection: apsw.Connection, scope: str, after: int, limit: int
) -> Sequence[LoggedAction]:
    """The recorded actions of a scope, by sequence."""
    rows: list[Row] = connection.execute(ACTIONS, (scope, after, max(0, limit))).fetchall()
    return [LoggedAction(*row) for row in rows]
