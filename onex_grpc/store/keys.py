"""Names of states, and ids that a store makes."""

from __future__ import annotations

from typing import Final

from onex_grpc.store.randomness import random_bytes

WORKFLOW_PREFIX: Final = "workflow/"
STORE_ID: Final = "store-id"
"""The secret that tells a store from all others; a store put back from a backup is another one."""


def workflow_key(workflow_id: str) -> str:
    """The key of a workflow's state; its version is the epoch that the workflow's leases show."""
    return WORKFLOW_PREFIX + workflow_id


def new_id(now_us: int) -> str:
    """A UUIDv7 (RFC 9562): ids made one after another lie side by side in an index.

    Args:
        now_us: microseconds since the Unix epoch.
    """
    value = (now_us // 1000) << 80 | int.from_bytes(random_bytes(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
