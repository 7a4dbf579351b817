"""Outcomes of keyed effects, and secrets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from onex_grpc.store import IdempotencyRecord, Store
from tests.store.builders import over_a_restart

if TYPE_CHECKING:
    from tests.store.conftest import Backend


async def test_first_outcome_of_a_key_stays(store: Store) -> None:
    assert await store.find_outcome("k") is None
    first = IdempotencyRecord(b"hash", b"first")
    assert await store.record_outcome("k", first) == first
    assert await store.record_outcome("k", IdempotencyRecord(b"hash", b"second")) == first
    assert await store.find_outcome("k") == first


async def test_secret_is_made_once(store: Store) -> None:
    made = await asyncio.gather(
        *(store.get_or_create_secret("key", b"%d" % number) for number in range(5))
    )
    assert len(set(made)) == 1
    assert await store.get_or_create_secret("key", b"fresh") == made[0]
    assert await store.get_or_create_secret("other", b"fresh") == b"fresh"


@over_a_restart
async def test_secret_survives_a_restart(backend: Backend) -> None:
    store = await backend.open()
    await store.get_or_create_secret("key", b"first")
    await store.close()
    store = await backend.open()
    assert await store.get_or_create_secret("key", b"fresh") == b"first"
    await store.close()
