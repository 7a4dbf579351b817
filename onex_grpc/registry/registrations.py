"""The processes that are registered here, and the rows that nobody answers for any more."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from onex_grpc.errors import NodeUnavailableError, OnexError, StoreInUseError
from onex_grpc.registry.entry import to_entry, to_node
from onex_grpc.store.protocol import RegistryStore, ReplicaStore

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from onex.v1 import registry_pb2
    from onex_grpc.store.model import NodeEntry

_log = logging.getLogger(__name__)
_MOST_REMOVED: Final = 64
_RETRY_SECONDS: Final = 1.0


class RegistrarStore(RegistryStore, ReplicaStore, Protocol):
    """What of a store the registry needs."""


class Key(NamedTuple):
    """A process among all."""

    node: str
    instance: str


class Holder:
    """Whoever answers for a registered process: a stream, or this process itself.

    Attributes:
        key: what it has registered, or tries to; None before.
    """

    def __init__(self) -> None:
        self.key: Key | None = None


class _Held(NamedTuple):
    holder: Holder
    entry: NodeEntry


class Registrations:
    """Registers processes for as long as their holders are there.

    Rows of an earlier process of this registrar stay for a ttl, in which their nodes register anew;
    so do those of another registrar that the store's lock proves gone. Whoever they would refuse is
    told to try again meanwhile: their processes may be there.

    Args:
        store: the registry, and who its registrars are.
        ttl: seconds between two looks at what nobody answers for.
    """

    def __init__(self, store: RegistrarStore, ttl: float) -> None:
        self._store = store
        self._ttl = ttl
        self._held: dict[Key, _Held] = {}
        self._pending: Counter[Key] = Counter()
        # Left, or broken off, here; their rows may be there for another moment.
        self._left: set[Key] = set()
        self._gone: set[str] = set()
        self._removing: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to remove what nobody answers for."""
        self._running = asyncio.create_task(self._run(), name="care of the registry")

    async def close(self) -> None:
        """Ends it; what is being removed is removed first."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await asyncio.gather(*self._removing, return_exceptions=True)

    async def put(
        self, holder: Holder, node: registry_pb2.RegisteredNode
    ) -> registry_pb2.RegisteredNode:
        """Registers a process, in the place of what its holder registered before; durable then.

        Raises:
            StoreInUseError: a process of the node that keeps another store is registered.
            NodeUnavailableError: as long as it is open whether such a process is there.
        """
        entry = to_entry(node, self._store.instance)
        key = Key(entry.node, entry.instance)
        if holder.key not in (None, key):
            await self.drop(holder)
        holder.key = key
        self._pending[key] += 1
        try:
            stored = await self._admit(entry)
            self._held[key] = _Held(holder, entry)
            self._left.discard(key)
        except (StoreInUseError, NodeUnavailableError):
            # The row under this key may be another's: it is not for this holder to remove.
            if key not in self._held or self._held[key].holder is not holder:
                holder.key = None
            raise
        finally:
            self._pending[key] -= 1
            self._pending += Counter()
        return to_node(stored)

    async def drop(self, holder: Holder) -> None:
        """Removes what a holder registered, unless another one answers for it meanwhile; goes on
        where the caller is cancelled.
        """
        key = holder.key
        if key is None:
            return
        holder.key = None
        held = self._held.get(key)
        if held is not None and held.holder is not holder:
            return
        self._held.pop(key, None)
        self._left.add(key)
        removing = asyncio.create_task(self._remove(key))
        self._removing.add(removing)
        removing.add_done_callback(self._removing.discard)
        await asyncio.shield(removing)

    async def _remove(self, key: Key) -> None:
        # Looked at only now: a new holder may have been faster than this task.
        if key in self._held or self._pending[key]:
            return
        try:
            await self._store.unregister_node(key.node, key.instance, self._store.instance)
            self._left.discard(key)
        except OnexError as error:
            _log.warning("%s stays registered for a while: %s", key.node, error)

    async def _admit(self, entry: NodeEntry) -> NodeEntry:
        for _ in range(_MOST_REMOVED):
            try:
                return await self._store.register_node(entry)
            except StoreInUseError as refused:
                if not await self._give_way(entry, refused):
                    raise
        return await self._store.register_node(entry)

    async def _give_way(self, entry: NodeEntry, refused: StoreInUseError) -> bool:
        """Removes the row that is in the way, if its process is not there any more.

        Raises:
            NodeUnavailableError: while that is open.
        """
        registrar = refused.context["registrar"]
        key = Key(entry.node, refused.context["instance"])
        if registrar == self._store.instance:
            if key in self._held:
                return False
            own = key == Key(entry.node, entry.instance)
            over = key in self._left and self._pending[key] <= own
        elif not await self._store.is_gone(registrar):
            return False
        else:
            over = False
        if not (over or _is_registrar(key, registrar)):
            raise NodeUnavailableError(
                f"{refused.message}; whether it is still there is not known yet",
                context=refused.context,
                retry_after=_RETRY_SECONDS,
            )
        await self._store.unregister_node(key.node, key.instance, registrar)
        return True

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._ttl)
            try:
                await self._look()
            except OnexError as error:
                _log.warning("looking after the registry failed: %s", error)
            except Exception:
                # Nodes that nobody removes any more would be worse than a fault that recurs.
                _log.exception("looking after the registry failed")

    async def _look(self) -> None:
        """Removes what nobody answers for since the last look; registers anew what was removed."""
        entries = (await self._store.list_nodes()).entries
        await self._remove_unheld(entries)
        await self._put_back({Key(entry.node, entry.instance) for entry in entries})
        await self._forget_gone(entries)

    async def _remove_unheld(self, entries: Sequence[NodeEntry]) -> None:
        own = self._store.instance
        for entry in entries:
            key = Key(entry.node, entry.instance)
            if entry.registrar == own and key not in self._held and not self._pending[key]:
                await self._store.unregister_node(entry.node, entry.instance, own)
                self._left.discard(key)

    async def _put_back(self, there: Set[Key]) -> None:
        # Others took this process for gone while it was cut off from the database.
        for key, held in [*self._held.items()]:
            if key not in there and self._held.get(key) is held:
                try:
                    await self._store.register_node(held.entry)
                except StoreInUseError as error:
                    _log.warning("%s is registered no more: %s", key.node, error)

    async def _forget_gone(self, entries: Sequence[NodeEntry]) -> None:
        others = {entry.registrar for entry in entries} - {self._store.instance}
        gone = {registrar for registrar in others if await self._store.is_gone(registrar)}
        for entry in entries:
            key = Key(entry.node, entry.instance)
            # The registrar itself need not be waited for: it cannot register elsewhere.
            if entry.registrar in gone and _is_registrar(key, entry.registrar):
                await self._store.unregister_node(entry.node, entry.instance, entry.registrar)
        for registrar in gone & self._gone:
            await self._store.forget_nodes(registrar)
        self._gone = gone - self._gone


def _is_registrar(key: Key, registrar: str) -> bool:
    """Whether a row is that of its registrar itself; other kinds may have instances so named."""
    return key.instance == registrar and key.node.startswith("orchestrator/")
