"""The registry of an orchestrator, as one thing."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from onex_grpc.registry.registrations import RegistrarStore, Registrations
from onex_grpc.registry.roll import Roll
from onex_grpc.registry.service import RegistryServicer
from onex_grpc.rpc.limits import MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager


class Registry:
    """What an orchestrator knows of the processes of its mesh.

    Attributes:
        registrations: the processes that are registered here.
        roll: the processes that are registered at any process of the orchestrator.

    Args:
        store: that of the orchestrator.
        ttl: seconds for which what nobody answers for stays registered.
        message_bytes: the largest message that is sent.
    """

    def __init__(
        self, store: RegistrarStore, ttl: float, message_bytes: int = MESSAGE_BYTES
    ) -> None:
        self.registrations = Registrations(store, ttl)
        self.roll = Roll(store)
        # Those who follow the registry may take no more than the default.
        self._message_bytes = min(message_bytes, MESSAGE_BYTES)

    def servicer(
        self,
        draining: Callable[[], Awaitable[object]] | None,
        standing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> RegistryServicer:
        """RegistryService.

        Args:
            draining: returns when the node stops.
            standing: in what streams that only wait are.
        """
        return RegistryServicer(
            self.registrations, self.roll, self._message_bytes, draining, standing
        )

    async def start(self) -> None:
        """Begins to look after it; returns when it was read, or could not be."""
        await self.roll.start()
        self.registrations.start()

    async def close(self) -> None:
        """Ends it."""
        await self.registrations.close()
        await self.roll.close()
