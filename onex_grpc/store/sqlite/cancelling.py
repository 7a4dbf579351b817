"""Cancels intents by name, under the lease of who asks for it. An operation of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store.queue_rules import cancellation, shown
from onex_grpc.store.sqlite import intents, leases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.model import Cancellation, Guard
    from onex_grpc.store.sqlite.transaction import Row, Transaction

_STATE: Final = "SELECT intent_id, state FROM intent WHERE intent_id = ?"


def cancel(tx: Transaction, intent_ids: Sequence[str], guard: Guard | None) -> Cancellation:
    """Ends those that nobody has taken."""
    if guard is not None:
        leases.raise_guard(tx, guard)
    names = list(dict.fromkeys(intent_ids))
    found: list[Row | None] = [tx.execute(_STATE, (name,)).fetchone() for name in names]
    intents.cancel(tx, names)
    return cancellation([(row[0], shown(row[1])) for row in found if row is not None])
