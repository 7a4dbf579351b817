"""Cancels intents by name, under the lease of who asks for it. An operation of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store.postgres import intents, leases
from onex_grpc.store.queue_rules import cancellation, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.model import Cancellation, Guard
    from onex_grpc.store.postgres.transaction import Transaction

# Locked in one order by all processes; what is told of a row is then what becomes of it.
_LOCK: Final = (
    "SELECT intent_id, state FROM intent WHERE intent_id = ANY(%s) ORDER BY seq FOR UPDATE"
)


def cancel(tx: Transaction, intent_ids: Sequence[str], guard: Guard | None) -> Cancellation:
    """Ends those that nobody has taken."""
    if guard is not None:
        leases.raise_guard(tx, guard)
    names = list(dict.fromkeys(intent_ids))
    found: dict[str, int] = dict(tx.rows(_LOCK, (names,))) if names else {}
    intents.cancel(tx, list(found))
    return cancellation([(name, shown(found[name])) for name in names if name in found])
