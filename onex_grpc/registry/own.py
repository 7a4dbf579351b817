"""An orchestrator in its own registry."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from onex_grpc.errors import OnexError, StoreInUseError
from onex_grpc.registry.registrations import Holder
from onex_grpc.rpc.follower import pause

if TYPE_CHECKING:
    from onex.v1 import registry_pb2
    from onex_grpc.registry.registrations import Registrations

_log = logging.getLogger(__name__)


class OwnMembership:
    """Registers this process without a stream: it is there as long as it is the registrar."""

    def __init__(self, registrations: Registrations, node: registry_pb2.RegisteredNode) -> None:
        self._registrations = registrations
        self._node = node
        self._holder = Holder()
        self._refused: asyncio.Future[StoreInUseError] = asyncio.get_running_loop().create_future()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Registers, as soon as the store lets it."""
        self._running = asyncio.create_task(self._run(), name="membership of the mesh")

    async def refused(self) -> StoreInUseError:
        """Returns when another process of the node keeps another store."""
        return await asyncio.shield(self._refused)

    async def leave(self) -> None:
        """Is registered no more when it returns."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._registrations.drop(self._holder)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._registrations.put(self._holder, self._node)
                return
            except StoreInUseError as error:
                self._refused.set_result(error)
                return
            except OnexError as error:
                if not failures:
                    _log.warning("not registered: %s; trying again", error)
            failures += 1
            await asyncio.sleep(pause(failures))
