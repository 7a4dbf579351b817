"""The picture of the registry, read once a change for all who follow it in this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from onex_grpc.errors import OnexError
from onex_grpc.registry.entry import to_node
from onex_grpc.rpc.follower import pause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex.v1 import registry_pb2
    from onex_grpc.rpc.directory import Directory
    from onex_grpc.store.protocol import RegistryStore

_log = logging.getLogger(__name__)
# Nodes come and go in swarms: what follows a change at once is seen with it.
_SETTLING: Final = 0.02


class Picture(NamedTuple):
    """Who is registered at one moment."""

    revision: int
    """Grows with each change."""
    nodes: Sequence[registry_pb2.RegisteredNode]


class Roll:
    """Follows the store's registry, without polling.

    Attributes:
        latest: the picture as it was last read, which may be a moment old.
    """

    def __init__(self, store: RegistryStore) -> None:
        self.latest = Picture(-1, ())
        self._store = store
        self._directories: list[Directory] = []
        self._changed = asyncio.Event()
        self._tried = asyncio.Event()
        self._failures = 0
        self._running: asyncio.Task[None] | None = None

    def fill(self, directory: Directory) -> None:
        """Keeps a directory as the registry has it; called before the start."""
        self._directories.append(directory)

    async def start(self) -> None:
        """Begins to follow; returns when the registry was read, or could not be."""
        self._running = asyncio.create_task(self._run(), name="roll of the registry")
        await self._tried.wait()

    async def close(self) -> None:
        """Ends it."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    def change(self) -> asyncio.Event:
        """What is set with the next picture; take it before looking at `latest`."""
        return self._changed

    async def read(self) -> Picture:
        """The picture of now, as soon as this process itself goes by it, or after a second."""
        picture = await self._read()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while self.latest.revision < picture.revision:
                    await self._changed.wait()
        return picture

    async def _read(self) -> Picture:
        found = await self._store.list_nodes()
        return Picture(found.revision, [to_node(entry) for entry in found.entries])

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except OnexError as error:
                if not self._failures:
                    _log.warning("the registry cannot be read: %s; trying again", error)
            except Exception:
                # A picture that grows old unseen would be worse than a fault that comes again.
                _log.exception("reading the registry failed")
            for directory in self._directories:
                directory.lose()
            self._tried.set()
            self._failures += 1
            await asyncio.sleep(pause(self._failures))

    async def _follow(self) -> None:
        while True:
            picture = await self._read()
            self._failures = 0
            # First this process itself, so that who sees a node in a picture can have it called.
            for directory in self._directories:
                await directory.take(picture.nodes)
            self.latest = picture
            self._tried.set()
            self._changed.set()
            self._changed = asyncio.Event()
            await self._store.wait_nodes(picture.revision)
            await asyncio.sleep(_SETTLING)
