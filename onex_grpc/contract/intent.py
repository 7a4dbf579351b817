"""What all who handle intents call them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onex.v1 import intent_pb2


def destination(intent: intent_pb2.ModelIntent) -> str:
    """Where an intent leads: its target; the type of its message where only that says it."""
    return intent.target or intent.payload.custom.TypeName()
