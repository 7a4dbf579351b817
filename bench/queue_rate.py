"""How fast waiting intents are taken and completed, where the work itself is nothing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bench.store_load import STATE_TYPE, TTL_US, new_intents
from onex_grpc.store import Commit, FenceOnly

if TYPE_CHECKING:
    from onex_grpc.store import Store

CONCURRENCY: Final = 32
_AT_ONCE: Final = 500


async def intents_rate(store: Store, intents: int = 3_000, batch: int = 1) -> float:
    """Intents a second that 32 callers claim, `batch` in one call, and complete."""
    change = Commit("fill", FenceOnly(), b"", STATE_TYPE)
    for _ in range(intents // _AT_ONCE):
        await store.commit(replace(change, intents=new_intents(_AT_ONCE)))

    async def caller() -> int:
        done = 0
        while claimed := await store.claim_intents("effect/bench", batch, TTL_US):
            await store.complete_intents([each.claim_token for each in claimed])
            done += len(claimed)
        return done

    began = time.perf_counter()
    done = sum(await asyncio.gather(*(caller() for _ in range(CONCURRENCY))))
    if done != intents:
        raise RuntimeError(f"{done} of {intents} intents were completed")
    return intents / (time.perf_counter() - began)
