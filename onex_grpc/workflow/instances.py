"""The processes that serve one orchestrator over one store, and whose workflows are whose."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from onex_grpc.errors import LeaseConflictError, OnexError
from onex_grpc.store.keys import WORKFLOW_PREFIX
from onex_grpc.workflow.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Callable

    from onex_grpc.store.model import Guard, LeaseGrant, LeaseRequest
    from onex_grpc.store.protocol import Store

FIRST_LOOK: Final = 1.0
"""Seconds: the holder may have been about to end the workflow when it was asked to tell of it."""
_MARGIN: Final = 0.01


class Instances:
    """Whose leases are those of this process, of another instance, or of somebody else.

    Attributes:
        holder: this process as the holder of leases: `orchestrator/name`, and where several
            processes serve the node, `orchestrator/name/instance`.
    """

    def __init__(self, store: Store, node: str) -> None:
        self._store = store
        self._prefix = f"{node}/"
        self._presence = Presence(self._is_gone)
        self.holder: Final = f"{node}/{store.instance}" if store.instance else node

    def is_other(self, holder: str) -> bool:
        """Whether a holder is another instance of this node."""
        return self.holder != holder and holder.startswith(self._prefix)

    async def acquire(self, request: LeaseRequest) -> LeaseGrant:
        """Acquires a lease, at once from an instance that the store's lock proves gone.

        Raises:
            LeaseConflictError: when somebody who may be alive holds it.
        """
        try:
            return await self._store.acquire_lease(request)
        except LeaseConflictError as conflict:
            holder = conflict.context.get("holder", "")
            if not await self._is_gone(holder):
                raise
        return await self._store.acquire_lease(replace(request, take_over_from=holder))

    async def abandoned(self, is_running: Callable[[str], bool]) -> list[str]:
        """The open workflows that nobody works on; one read, and one for each other instance.

        They are those without a lease, those of this instance that do not run here, and those of
        instances that are gone.
        """
        gone: dict[str, bool] = {}
        found = []
        for work in await self._store.list_open(WORKFLOW_PREFIX):
            workflow_id = work.key.removeprefix(WORKFLOW_PREFIX)
            if is_running(workflow_id):
                continue
            if work.lease_remaining_us and work.holder != self.holder:
                if work.holder not in gone:
                    gone[work.holder] = await self._is_gone(work.holder)
                if not gone[work.holder]:
                    continue
            found.append(workflow_id)
        return found

    async def hand_over(self, guard: Guard) -> None:
        """Gives up a lease to other instances; who is alone takes it over when it restarts."""
        if self._store.instance:
            # Where that fails, the store's lock tells them, or the lease's end.
            with contextlib.suppress(OnexError):
                await self._store.release_lease(guard)

    async def wait(self, workflow_id: str, conflict: LeaseConflictError, longest: float) -> None:
        """Returns when another instance has ended a workflow or has gone, when its lease has run
        out, or after so many seconds.
        """
        timeout = min(conflict.retry_after or 0.0, longest) + _MARGIN
        async with self._presence.watch(conflict.context.get("holder", "")) as gone:
            told = asyncio.ensure_future(self._store.wait_release(workflow_id, timeout))
            try:
                await asyncio.wait((told, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                told.cancel()
                await asyncio.gather(told, return_exceptions=True)
        if not told.cancelled():
            told.result()

    async def _is_gone(self, holder: str) -> bool:
        if not self.is_other(holder):
            return False
        return await self._store.is_gone(holder.removeprefix(self._prefix))
