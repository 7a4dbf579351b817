"""Follows a registry over the network."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Final

from onex.v1 import registry_pb2, registry_pb2_grpc
from onex_grpc.errors import OnexError
from onex_grpc.rpc.contact import Contact

if TYPE_CHECKING:
    from onex_grpc.rpc.client import Mesh
    from onex_grpc.rpc.directory import Directory

_log = logging.getLogger(__name__)
_REGISTRY: Final = "orchestrator"
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


class Follower:
    """Keeps a directory as the registry has it; while that is away, as it was.

    Args:
        mesh: by which the orchestrators are reached that have the registry; closed with this.
        directory: gets the pictures.
    """

    def __init__(self, mesh: Mesh, directory: Directory) -> None:
        self._mesh = mesh
        self._directory = directory
        self._contact = Contact(directory.source)
        self._failures = 0
        self._closed = False
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to follow; nothing more where it has begun."""
        if self._running is None and not self._closed:
            self._running = asyncio.get_running_loop().create_task(
                self._run(), name="follower of the registry"
            )

    @property
    def source(self) -> str:
        """The registry, for messages."""
        return self._directory.source

    @property
    def running(self) -> bool:
        """Whether it follows, or tries to."""
        return self._running is not None and not self._running.done()

    def abandon(self) -> None:
        """Ends it without waiting; from any thread, and where the loop has ended already."""
        if self._running is not None and not self._running.get_loop().is_closed():
            self._running.get_loop().call_soon_threadsafe(self._running.cancel)

    async def close(self) -> None:
        """Ends it."""
        self._closed = True
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._mesh.close()

    async def _run(self) -> None:
        while True:
            try:
                await self._watch()
                self._contact.broke("the stream ended")
            except OnexError as error:
                self._contact.failed(error)
            except Exception:
                # Addresses that grow old unseen would be worse than a fault that comes again.
                _log.exception("following %s failed", self._directory.source)
                self._contact.broke("following it failed")
            self._directory.lose()
            self._failures += 1
            await asyncio.sleep(pause(self._failures))

    async def _watch(self) -> None:
        stub = self._mesh.stub(registry_pb2_grpc.RegistryServiceStub, _REGISTRY)
        call = stub.WatchNodes(registry_pb2.WatchNodesRequest())
        try:
            async for picture in call:
                await self._directory.take(picture.nodes)
                self._failures = 0
                self._contact.answered()
        finally:
            call.cancel()


def pause(failures: int) -> float:
    """Seconds before the next attempt to reach a registry, after so many in vain.

    Half of it is chance: all nodes of a mesh lose the registry at the same moment.
    """
    grown: float = _FIRST_PAUSE * 2.0 ** min(failures, 16)
    return min(_LONGEST_PAUSE, grown) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load
