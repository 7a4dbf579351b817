"""Looks now and then for workflows that nobody works on any more."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from onex_grpc.errors import OnexError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log: Final = logging.getLogger(__name__)
_FIRST_PAUSE: Final = 0.25


class Recovery:
    """Looks once a ttl, and soon, with growing pauses, after a workflow has broken off.

    Args:
        resume: goes on with what is found.
        ttl: of the leases, in seconds: as long as a dead holder keeps its workflows.
    """

    def __init__(self, resume: Callable[[], Awaitable[object]], ttl: float) -> None:
        self._resume = resume
        self._ttl = ttl
        self._pause = _FIRST_PAUSE
        self._hurried = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look."""
        self._running = asyncio.create_task(self._run(), name="recovery of workflows")

    def hurry(self) -> None:
        """Notes that a workflow broke off which could go on."""
        self._hurried.set()

    async def close(self) -> None:
        """Ends it."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._until_due()
            try:
                await self._resume()
            except OnexError as error:
                _log.warning("looking for workflows without a holder failed: %s", error)
                self.hurry()
            except Exception:
                # Workflows that nobody takes up any more would be worse than a fault that recurs.
                _log.exception("looking for workflows without a holder failed")

    async def _until_due(self) -> None:
        try:
            async with asyncio.timeout(self._ttl):
                await self._hurried.wait()
        except TimeoutError:
            self._pause = _FIRST_PAUSE
            return
        # What broke it off, such as a database that is down, may take its time.
        await asyncio.sleep(min(self._pause, self._ttl))
        self._pause *= 2
        self._hurried.clear()
