"""A process as a member of the mesh: registered for as long as it serves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final, Protocol

import grpc

from onex.v1 import registry_pb2, registry_pb2_grpc
from onex_grpc.errors import OnexError, StoreInUseError
from onex_grpc.rpc.follower import pause

if TYPE_CHECKING:
    from onex_grpc.rpc.client import Mesh

    Call = grpc.aio.StreamStreamCall[
        registry_pb2.RegisterNodeRequest, registry_pb2.RegisterNodeResponse
    ]

_log = logging.getLogger(__name__)
_REGISTRY: Final = "orchestrator"
_PARTING: Final = 2.0


class Member(Protocol):
    """How a process is in a registry."""

    def start(self) -> None:
        """Registers, as soon as the registry can be reached."""
        ...

    async def refused(self) -> StoreInUseError:
        """Returns when another process of the node keeps another store."""
        ...

    async def leave(self) -> None:
        """Is registered no more when it returns, if the registry can be reached."""
        ...


class Membership:
    """Holds a stream to a registry open, and connects again when it breaks.

    Attributes:
        stream: what is open now; None while there is none.

    Args:
        mesh: by which the orchestrators are reached that have the registry.
        source: which registry it is, for messages.
        node: this process.
    """

    def __init__(self, mesh: Mesh, source: str, node: registry_pb2.RegisteredNode) -> None:
        self._mesh = mesh
        self._source = source
        self._request = registry_pb2.RegisterNodeRequest(node=node)
        self._refused: asyncio.Future[StoreInUseError] = asyncio.get_running_loop().create_future()
        self._reachable = True
        self._failures = 0
        self._leaving = False
        self.stream: Call | None = None
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Registers, as soon as the registry can be reached."""
        self._running = asyncio.create_task(self._run(), name="membership of the mesh")

    async def refused(self) -> StoreInUseError:
        """Returns when another process of the node keeps another store."""
        return await asyncio.shield(self._refused)

    async def leave(self) -> None:
        """Is registered no more when it returns, if the registry can be reached."""
        self._leaving = True
        if self._running is None:
            return
        try:
            async with asyncio.timeout(_PARTING):
                if self.stream is not None:
                    with contextlib.suppress(OnexError):
                        await self.stream.done_writing()
                    # The registry ends the stream once the process is removed.
                    await asyncio.wait((self._running,))
        except TimeoutError:
            _log.warning("%s did not confirm that this process leaves", self._source)
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        while not self._leaving:
            try:
                await self._hold()
                reason = "the stream ended"
            except StoreInUseError as error:
                self._refused.set_result(error)
                return
            except OnexError as error:
                reason = error.message
            except Exception:
                # A process that nobody finds would be worse than a fault that comes again.
                _log.exception("registering at %s failed", self._source)
                reason = "registering failed"
            if self._leaving:
                return
            if self._reachable:
                self._reachable = False
                _log.warning("not registered at %s: %s; trying again", self._source, reason)
            self._failures += 1
            await asyncio.sleep(pause(self._failures))

    async def _hold(self) -> None:
        stub = self._mesh.stub(registry_pb2_grpc.RegistryServiceStub, _REGISTRY)
        call = self.stream = stub.RegisterNode()
        try:
            await call.write(self._request)
            while await call.read() is not grpc.aio.EOF:
                self._failures = 0
                if not self._reachable:
                    self._reachable = True
                    _log.info("registered at %s", self._source)
        finally:
            self.stream = None
            call.cancel()
