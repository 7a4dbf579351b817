"""Adds up what became of the intents that a rollback or an operator cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onex.v1 import intent_pb2

MOST_NAMED: Final = 1000
"""So many intents are named; all are counted."""


def add_to(
    told: intent_pb2.IntentCancellation,
    cancelled: int,
    kept: int,
    kept_intents: Iterable[intent_pb2.KeptIntent],
) -> None:
    """Add what became of further intents; name no more than MOST_NAMED in all."""
    told.cancelled += cancelled
    told.kept += kept
    told.kept_intents.extend(kept_intents)
    del told.kept_intents[MOST_NAMED:]
