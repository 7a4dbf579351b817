"""Canonical bytes of messages: the one form by which two contents are recognised as the same.

A map has no order of its own and an Any holds bytes, so equal contents are serialised differently
by different processes. Here each Any of a known type is replaced, innermost first, by the
deterministic bytes of its content; unknown fields, and Anys that this process cannot read, stay as
received.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from onex_grpc.contract.anys import anys_in
from onex_grpc.contract.data import unpack_any
from onex_grpc.errors import ContractValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.any_pb2 import Any
    from google.protobuf.message import Message

_PREFIX: Final = "type.googleapis.com/"
# An Any in an Any in an Any has its content in it once a level: a bound on the sum keeps what is
# nested ever deeper from costing ever more.
_MOST_UNPACKED: Final = 64 * 1024 * 1024
_SLASH: Final = b"/"


def canonical_bytes(message: Message) -> bytes:
    """Return the same bytes for the same content, in every process that knows its types.

    The message is not changed. Anys beyond 64 MiB of unpacked content stay as received.
    """
    # Partial: content has an identity even where a required field is missing.
    plain = message.SerializePartialToString(deterministic=True)
    # Every Any has a slash in its type's URL; most messages without one have no slash.
    if _SLASH not in plain or not anys_in(message):
        return plain
    settled = type(message)()
    settled.CopyFrom(message)
    _settle(anys_in(settled))
    return settled.SerializePartialToString(deterministic=True)


def canonical_digest(message: Message) -> bytes:
    """Return the SHA-256 of the canonical bytes."""
    return hashlib.sha256(canonical_bytes(message)).digest()


def same_content(one: Message, other: Message) -> bool:
    """Compare two messages of one type by their canonical bytes."""
    return canonical_bytes(one) == canonical_bytes(other)


def _settle(anys: Iterable[Any]) -> None:
    """Replace each Any's bytes by the canonical ones of its content, where they can be read."""
    unpacked: list[tuple[Any, Message]] = []
    waiting, left = list(anys), _MOST_UNPACKED
    # Outer ones come before those inside them, which are added while this runs.
    for packed in waiting:
        left -= len(packed.value)
        if left < 0:
            break
        try:
            content = unpack_any(packed)
        except ContractValidationError:
            continue
        unpacked.append((packed, content))
        waiting.extend(anys_in(content))
    for packed, content in reversed(unpacked):
        packed.type_url = _PREFIX + content.DESCRIPTOR.full_name
        packed.value = content.SerializePartialToString(deterministic=True)
