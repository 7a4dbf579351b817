"""What the handler of an operation of the user's own knows about the call that it serves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class CustomCall:
    """What a handler of a custom operation gets besides the message.

    Attributes:
        target: the target's name; empty for an operation without one.
        options: the target's options.
        idempotency_key: hand it to the outside system if that keeps keys; empty without one.
        correlation_id: UUID text.
        performed: how many operations this attempt has performed, by target; they are counted for
            it, so that each gets a key of its own.
    """

    target: str
    options: Mapping[str, str] = field(repr=False)
    idempotency_key: str
    correlation_id: str
    performed: dict[str, int] = field(default_factory=dict, repr=False, compare=False)
