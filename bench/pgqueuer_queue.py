"""pgqueuer's jobs: how fast those that wait are taken and completed, where the work itself is
nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import asyncpg
from pgqueuer import AsyncpgPoolDriver, Queries, QueueManager

from bench.store_load import PAYLOAD

if TYPE_CHECKING:
    from pgqueuer.models import Job

_CONNECTIONS: Final = 16
_ENTRYPOINT: Final = "nothing"


class Pgqueuer:
    """A queue on a pool of asyncpg."""

    def __init__(self, address: str) -> None:
        self._pool = asyncpg.create_pool(
            address, min_size=_CONNECTIONS, max_size=_CONNECTIONS, reset=_no_reset
        )

    async def open(self) -> None:
        """Connects and makes its tables."""
        await self._pool
        await Queries(AsyncpgPoolDriver(self._pool)).install()

    async def close(self) -> None:
        """Disconnects."""
        await self._pool.close()

    async def rate(self, jobs: int, batch: int) -> float:
        """Jobs a second that one manager, which takes `batch` at once, runs and completes."""
        queries = Queries(AsyncpgPoolDriver(self._pool))
        priorities = [number % 5 for number in range(jobs)]
        await queries.enqueue([_ENTRYPOINT] * jobs, [PAYLOAD] * jobs, priorities)
        manager = QueueManager(queries)
        done = 0

        async def nothing(job: Job) -> None:
            nonlocal done
            done += 1
            if done == jobs:
                manager.shutdown.set()

        manager.entrypoint(_ENTRYPOINT)(nothing)
        began = time.perf_counter()
        # Returns once all that was done is marked so.
        await manager.run(batch_size=batch)
        taken = time.perf_counter() - began
        if left := await queries.queue_size():
            raise RuntimeError(f"jobs are left: {left}")
        return jobs / taken


async def _no_reset(connection: object) -> None:
    pass
