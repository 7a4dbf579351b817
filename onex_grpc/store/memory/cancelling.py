"""Cancels intents by name, under the lease of who asks for it. An operation of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.store.memory import intents, states
from onex_grpc.store.model import IntentState
from onex_grpc.store.queue_rules import cancellation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.memory.tables import Stage
    from onex_grpc.store.memory.transaction import Transaction
    from onex_grpc.store.model import Cancellation, Guard


def cancel(tx: Transaction, intent_ids: Sequence[str], guard: Guard | None) -> Cancellation:
    """Ends those that nobody has taken."""
    if guard is not None:
        states.raise_guard(tx, guard)
    tables = tx.tables
    names = list(dict.fromkeys(intent_ids))
    known = [(name, tables.intent_ids[name]) for name in names if name in tables.intent_ids]
    rows = [(name, tables.queue.get(at) or tables.finished.get(at)) for name, at in known]
    found = [(name, _shown(row.stage)) for name, row in rows if row is not None]
    intents.cancel(tx, names)
    return cancellation(found)


def _shown(stage: Stage) -> IntentState:
    name = stage.name
    return IntentState[name] if name in IntentState.__members__ else IntentState.PENDING
