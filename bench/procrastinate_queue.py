"""The queue of intents beside procrastinate's jobs, on one PostgreSQL: how fast waiting work is
taken and completed, where the work itself is nothing.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from procrastinate import App, PsycopgConnector

from bench.store_load import STATE_TYPE, TTL_US, new_intents
from onex_grpc.store import Commit, FenceOnly

if TYPE_CHECKING:
    from procrastinate.types import JSONValue

    from onex_grpc.store import Store

CONCURRENCY: Final = 32
_JOBS: Final = 400
_INTENTS: Final = 3_000


class Procrastinate:
    """One application with a task that does nothing."""

    def __init__(self, address: str) -> None:
        """Takes a pool as large as its callers can use."""
        connector = PsycopgConnector(conninfo=address, min_size=4, max_size=CONCURRENCY + 4)
        self.app = App(connector=connector)
        self.app.task(name="nothing", queue="bench")(_nothing)

    async def open(self) -> None:
        """Connects and makes its tables."""
        await self.app.open_async()
        await self.app.schema_manager.apply_schema_async()

    async def close(self) -> None:
        """Disconnects."""
        await self.app.close_async()

    async def rate(self) -> float:
        """Jobs a second that one worker takes and completes."""
        jobs: list[dict[str, JSONValue]] = [{} for _ in range(_JOBS)]
        await self.app.tasks["nothing"].batch_defer_async(*jobs)
        began = time.perf_counter()
        await self.app.run_worker_async(
            queues=["bench"],
            concurrency=CONCURRENCY,
            wait=False,
            install_signal_handlers=False,
            listen_notify=False,
        )
        return _JOBS / (time.perf_counter() - began)


async def intents_rate(store: Store) -> float:
    """Intents a second that as many callers claim, one by one, and complete."""
    change = Commit("fill", FenceOnly(), b"", STATE_TYPE)
    for _ in range(_INTENTS // 500):
        await store.commit(replace(change, intents=new_intents(500)))

    async def caller() -> int:
        done = 0
        while claimed := await store.claim_intents("effect/bench", 1, TTL_US):
            await store.complete_intents([claimed[0].claim_token])
            done += 1
        return done

    began = time.perf_counter()
    done = sum(await asyncio.gather(*(caller() for _ in range(CONCURRENCY))))
    if done != _INTENTS:
        raise RuntimeError(f"{done} of {_INTENTS} intents were completed")
    return _INTENTS / (time.perf_counter() - began)


async def _nothing() -> None:
    pass
