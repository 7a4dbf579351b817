"""What is read of the history and the audit trail in memory."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from onex_grpc.store.model import HistoryEntry, LoggedAction, StateRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.memory.tables import Tables, Version


def version_at(tables: Tables, key: str, to: int | str) -> Version | None:
    """A kept version of a key, or the one that a checkpoint pins."""
    version = to if isinstance(to, int) else tables.checkpoints.get((key, to), 0)
    return tables.history.get((key, version))


def state_at(tables: Tables, key: str, to: int | str) -> StateRow | None:
    """The content of a kept version."""
    row = version_at(tables, key, to)
    if row is None:
        return None
    return StateRow(row.entry.version, row.entry.state, row.entry.state_type)


def history(tables: Tables, key: str, after: int, limit: int) -> Sequence[HistoryEntry]:
    """The kept versions of a key, in their order."""
    versions = range(after + 1, tables.version(key) + 1)
    kept = (tables.history.get((key, version)) for version in versions)
    return [
        replace(row.entry, checkpoints=_names(tables, key, row.entry.version))
        for row in islice((row for row in kept if row is not None), max(0, limit))
    ]


def actions(tables: Tables, scope: str, after: int, limit: int) -> Sequence[LoggedAction]:
    """The recorded actions of a scope, by sequence."""
    found = [
        row.logged
        for (of, _), row in tables.actions.items()
        if of == scope and row.logged.sequence > after
    ]
    found.sort(key=lambda row: row.sequence)
    return found[: max(0, limit)]


def _names(tables: Tables, key: str, version: int) -> tuple[str, ...]:
    pins = tables.checkpoints.items()
    return tuple(sorted(name for (of, name), at in pins if (of, at) == (key, version)))
