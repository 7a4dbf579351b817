"""Ids that are made of content and time, so that making them again gives the same ones."""

from __future__ import annotations

import hashlib
import uuid


def derived_uuid7(milliseconds: int, *parts: str) -> str:
    """A UUID of version 7 (RFC 9562): 48 bits of Unix time, the rest from a SHA-256 over the parts.

    Args:
        milliseconds: since the Unix epoch; 0 to 2^48 - 1, others are cut to 48 bits.
        parts: what makes the id unique, e.g. an action's id and an index.
    """
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    bits = int.from_bytes(digest[:10], "big")
    value = (milliseconds & (2**48 - 1)) << 80 | bits
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def derived_uuid8(*parts: str) -> str:
    """A UUID of version 8 (RFC 9562) from a SHA-256 over the parts; it has no time in it."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    value = int.from_bytes(digest[:16], "big")
    value = value & ~(0xF << 76) | 0x8 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))
