"""Keeps a node's store from growing for ever: removes what is over, while there are writes."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from onex_grpc.errors import OnexError
from onex_grpc.store.retention import PurgePosition

if TYPE_CHECKING:
    from onex_grpc.store.protocol import Housekeeping
    from onex_grpc.store.retention import Retention

_log: Final = logging.getLogger(__name__)

_INTERVAL: Final = 60.0
_PORTION: Final = 200
# Between two portions, so that a long sweep leaves the store to others for most of the time.
_PAUSE: Final = 0.02
# What a sweep has passed and left, such as the actions of a workflow that was open then, is looked
# at again after so many sweeps: once a day at the most.
_SWEEPS: Final = 24 * 60


class Housekeeper:
    """Sweeps a store a minute after its first write since the last sweep; an idle one is left be.

    Args:
        retention: what is kept for how long.
        interval: seconds from a write to the sweep.
    """

    def __init__(self, retention: Retention, *, interval: float = _INTERVAL) -> None:
        self._retention = retention
        self._interval = interval
        self._store: Housekeeping | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._position = PurgePosition()
        self._sweeps = 0
        # Read and set by the writer's thread as well; at worst one sweep too many is made.
        self._armed = True

    def on_batch(self, operations: int, seconds: float) -> None:
        """Hears of each batch of the store, on its writer's thread."""
        if not self._armed and self._loop is not None:
            self._armed = True
            self._loop.call_soon_threadsafe(self._arm)

    def start(self, store: Housekeeping) -> None:
        """Begins to look after a store; an earlier process may have left something to remove."""
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._arm()

    async def stop(self) -> None:
        """Gives up a sweep under way; the next process goes on."""
        self._armed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    def _arm(self) -> None:
        if self._loop is not None:
            self._timer = self._loop.call_later(self._interval, self._begin)

    def _begin(self) -> None:
        self._sweeping = asyncio.create_task(self._sweep())

    async def _sweep(self) -> None:
        try:
            await self._remove()
        except OnexError as error:
            _log.warning("what is over could not be removed from the store: %s", error)
        except Exception:
            _log.exception("removing what is over from the store failed")
        # Only now, so that the sweep's own writes do not ask for another one.
        self._armed = False

    async def _remove(self) -> None:
        store = self._store
        if store is None:
            return
        removed = 0
        while True:
            purged = await store.purge(self._retention, self._position, _PORTION)
            self._position = purged.position
            removed += purged.removed
            if purged.done:
                break
            await asyncio.sleep(_PAUSE)
        self._sweeps += 1
        if self._sweeps % _SWEEPS == 0:
            self._position = PurgePosition()
        if removed:
            _log.debug("removed %d rows that were over from the store", removed)
