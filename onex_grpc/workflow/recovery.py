"""Looks now and then for workflows that nobody works on any more."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from onex_grpc.errors import LeaseConflictError, OnexError, UnavailableError

if TYPE_CHECKING:
    from onex_grpc.workflow.active import ActiveWorkflows, Work
    from onex_grpc.workflow.instances import Instances

_log: Final = logging.getLogger(__name__)
_FIRST_PAUSE: Final = 0.25


class Recovery:
    """Looks once a ttl, and soon, with growing pauses, after a workflow has broken off.

    Args:
        instances: know whose workflows are whose.
        running: what runs here.
        resume: goes on with a workflow that has begun.
        ttl: of the leases, in seconds: as long as a dead holder keeps its workflows.
    """

    def __init__(
        self, instances: Instances, running: ActiveWorkflows, resume: Work, ttl: float
    ) -> None:
        self._instances = instances
        self._active = running
        self._resume = resume
        # What cannot go on, so that it is not tried again and again.
        self._given_up: set[str] = set()
        self._ttl = ttl
        self._pause = _FIRST_PAUSE
        self._hurried = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look."""
        self._running = asyncio.create_task(self._run(), name="recovery of workflows")

    async def look(self) -> int:
        """Goes on with every open workflow that nobody works on; returns at once, with their
        number.
        """
        resumed = 0
        found = await self._instances.abandoned(self._active.__contains__)
        self._given_up.intersection_update(found)
        for workflow_id in found:
            if workflow_id not in self._active and workflow_id not in self._given_up:
                self._active.launch(workflow_id, b"", self._resume)
                resumed += 1
        if resumed:
            _log.info("resuming %d workflows", resumed)
        return resumed

    def broke_off(self, workflow_id: str, error: BaseException) -> None:
        """Notes that a workflow stopped here before its end, and looks soon where it could go on
        later.
        """
        if isinstance(error, UnavailableError):
            self._hurried.set()
        elif not isinstance(error, LeaseConflictError):
            self._given_up.add(workflow_id)

    def reconsider(self, workflow_id: str) -> None:
        """Forgets that a workflow could not go on: what it goes on from has changed."""
        self._given_up.discard(workflow_id)

    def reconsider_all(self) -> None:
        """Forgets what could not go on, and looks soon: it may be able to now."""
        if self._given_up:
            self._given_up.clear()
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
                await self.look()
            except OnexError as error:
                _log.warning("looking for workflows without a holder failed: %s", error)
                self._hurried.set()
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
