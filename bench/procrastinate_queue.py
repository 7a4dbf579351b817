"""Procrastinate's jobs: how fast those that wait are taken and completed, where the work itself is
nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from procrastinate import App, PsycopgConnector

from bench.queue_rate import CONCURRENCY

if TYPE_CHECKING:
    from procrastinate.types import JSONValue

_JOBS: Final = 400


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


async def _nothing() -> None:
    pass
