"""What is known about an effect before anything is done."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from onex_grpc.contract.canonical import canonical_bytes

if TYPE_CHECKING:
    from onex.v1 import operation_pb2

CUSTOM: Final = "io_operation_config.operation.custom"
"""Path of the message of an operation of the user's own."""


class Repeat(Enum):
    """What may be done with an operation that failed in a way that may pass."""

    HARMLESS = "harmless"
    """Done twice it leaves the same result."""
    KEYED = "keyed"
    """The target stores the key and does it once."""
    OWN_KEY = "own key"
    """The target does it once for all attempts of this call, whose key nobody else knows."""
    NEVER = "never"
    """Done twice it happens twice."""


@dataclass(frozen=True, slots=True)
class EffectRequest:
    """One effect on its way to a target.

    Attributes:
        target: the name of the target in the node's settings.
        operation: what to do there.
        key: the idempotency key; empty without one.
        correlation_id: that of the call, as UUID text.
        content_hash: SHA-256 over target and operation, to see a key that comes with other content;
            empty without a key.
        redrives: how often an operator has given leave to do it again.
    """

    target: str
    operation: operation_pb2.EffectOperation
    key: str
    correlation_id: str
    content_hash: bytes
    redrives: int = 0


def effect_request(
    target: str,
    operation: operation_pb2.EffectOperation,
    key: str,
    correlation_id: str,
    redrives: int = 0,
) -> EffectRequest:
    """An effect with the hash of its content, which is taken only where there is a key."""
    digest = b""
    if key:
        content = target.encode() + b"\0" + canonical_bytes(operation)
        digest = hashlib.sha256(content).digest()
    return EffectRequest(target, operation, key, correlation_id, digest, redrives)


class Progress:
    """Whether an attempt has begun to touch the outside world.

    The target sets it; the executor reads it when the attempt is interrupted.
    """

    __slots__ = ("begun",)

    def __init__(self) -> None:
        self.begun = False
