"""RegistryService over an orchestrator's store."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING

from onex.v1 import registry_pb2, registry_pb2_grpc
from onex_grpc.errors import NodeUnavailableError
from onex_grpc.registry.entry import select
from onex_grpc.registry.registrations import Holder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractContextManager

    from onex_grpc.registry.registrations import Registrations
    from onex_grpc.registry.roll import Roll


class RegistryServicer(registry_pb2_grpc.RegistryServiceServicer):
    """Registers processes while they hold their streams, and tells who is there.

    Args:
        registrations: what is registered here.
        roll: the picture for those who follow it.
        message_bytes: the largest message that is sent.
        draining: returns when the node stops, so that streams end.
        standing: in what streams that only wait are, so that they use up no limit of calls.
    """

    def __init__(
        self,
        registrations: Registrations,
        roll: Roll,
        message_bytes: int,
        draining: Callable[[], Awaitable[object]] | None = None,
        standing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._registrations = registrations
        self._roll = roll
        self._message_bytes = message_bytes
        self._draining = draining or asyncio.Event().wait
        self._standing = standing

    async def RegisterNode(
        self,
        request_iterator: AsyncIterator[registry_pb2.RegisterNodeRequest],
        context: object,
    ) -> AsyncIterator[registry_pb2.RegisterNodeResponse]:
        """Registers the caller until its stream ends; what this node's stop ends stays registered,
        so that its next process, or another one, still knows it.

        Raises:
            StoreInUseError: a process of the node that keeps another store is registered.
            NodeUnavailableError: when this node stops, and while it is open whether such a process
                is there; register again, here or elsewhere.
        """
        holder = Holder()
        closing: asyncio.Future[object] = asyncio.ensure_future(self._draining())
        try:
            with self._standing():
                while (request := await _next(request_iterator, closing)) is not None:
                    stored = await self._registrations.put(holder, request.node)
                    yield registry_pb2.RegisterNodeResponse(registered_at=stored.registered_at)
        finally:
            stopping = closing.done()
            closing.cancel()
            if not stopping:
                await self._registrations.drop(holder)
        if stopping:
            raise _stopping()

    async def ListNodes(
        self, request: registry_pb2.ListNodesRequest, context: object
    ) -> registry_pb2.ListNodesResponse:
        """Who is there now."""
        nodes = select((await self._roll.read()).nodes, request, self._message_bytes)
        return registry_pb2.ListNodesResponse(nodes=nodes)

    async def WatchNodes(
        self, request: registry_pb2.WatchNodesRequest, context: object
    ) -> AsyncIterator[registry_pb2.WatchNodesResponse]:
        """Who is there, at once and after each change.

        Raises:
            NodeUnavailableError: when this node stops; follow another one.
        """
        closing: asyncio.Future[object] = asyncio.ensure_future(self._draining())
        try:
            with self._standing():
                # Read anew, so that whoever has just registered is in it.
                picture = await self._roll.read()
                told = select(picture.nodes, request, self._message_bytes)
                yield registry_pb2.WatchNodesResponse(nodes=told)
                while not closing.done():
                    changed = self._roll.change()
                    if self._roll.latest.revision > picture.revision:
                        picture = self._roll.latest
                        nodes = select(picture.nodes, request, self._message_bytes)
                        if nodes != told:
                            told = nodes
                            yield registry_pb2.WatchNodesResponse(nodes=told)
                    await _first(changed.wait(), closing)
        finally:
            closing.cancel()
        raise _stopping()


async def _next(
    requests: AsyncIterator[registry_pb2.RegisterNodeRequest], closing: asyncio.Future[object]
) -> registry_pb2.RegisterNodeRequest | None:
    """The next request; None after the last, and when the node stops."""
    reading = asyncio.ensure_future(_read(requests))
    try:
        await asyncio.wait((reading, closing), return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else None
    finally:
        reading.cancel()


async def _read(
    requests: AsyncIterator[registry_pb2.RegisterNodeRequest],
) -> registry_pb2.RegisterNodeRequest | None:
    return await anext(requests, None)


async def _first(change: Awaitable[object], closing: asyncio.Future[object]) -> None:
    changed = asyncio.ensure_future(change)
    try:
        await asyncio.wait((changed, closing), return_when=asyncio.FIRST_COMPLETED)
    finally:
        changed.cancel()


def _stopping() -> NodeUnavailableError:
    return NodeUnavailableError("the registry is stopping; connect again", retry_after=0.1)
