"""A store that one process has open, seen from the others of its node: there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onex_grpc.store.wakeups import Wakeups


class SingleProcess:
    """The part of a Store over files and memory that is about other processes."""

    _wakeups: Wakeups

    @property
    def instance(self) -> str:
        """Empty: it is alone."""
        return ""

    async def is_gone(self, instance: str) -> bool:
        """Whether another process is gone; there never was one that could be named."""
        return False

    async def wait_release(self, workflow_id: str, timeout: float) -> None:
        """Returns when a lease may have been given up."""
        await self._wakeups.release(workflow_id, timeout)
