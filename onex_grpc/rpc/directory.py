"""Who serves which node, and where: the latest picture of a registry."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
import socket
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from onex_grpc.contract.node import node_name
from onex_grpc.errors import TargetNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence, Set

    from onex.v1 import registry_pb2

_log = logging.getLogger(__name__)
_PATIENCE: Final = 5.0
_RESOLVE_SECONDS: Final = 2.0
_MOST_REMEMBERED: Final = 10_000


class Directory:
    """Where the nodes of a mesh are; a picture stays until it is replaced.

    Attributes:
        source: which registry it is, for messages.
        nodes: the processes of the picture.
        told: whether there has been a picture.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.nodes: Sequence[registry_pb2.RegisteredNode] = ()
        self.told = False
        self._places: Mapping[str, str] = {}
        self._addresses: Mapping[str, Set[str]] = {}
        self._salt = random.random()  # noqa: S311 - spreads load
        self._taken: frozenset[str] = frozenset()
        self._remembered: set[str] = set()
        self._listeners: list[Callable[[], None]] = []
        self._changed = asyncio.Event()
        # Set from the first picture on, or while there is no hope for it.
        self._settled = asyncio.Event()

    async def take(self, nodes: Sequence[registry_pb2.RegisteredNode]) -> None:
        """Replaces the picture; names of several processes of one node are resolved here."""
        by_name: dict[str, set[str]] = defaultdict(set)
        for node in nodes:
            by_name[node_name(node.node)].add(node.address)
        places = {name: min(addresses) for name, addresses in by_name.items()}
        several = [name for name, addresses in by_name.items() if len(addresses) > 1]
        found = await asyncio.gather(*(_place(by_name[name]) for name in several))
        places.update(zip(several, found, strict=True))
        self.nodes = nodes
        self.told = True
        self._places = places
        self._addresses = by_name
        self._taken = frozenset(node.address for node in nodes)
        self._remember(places)
        self._settled.set()
        self._changed.set()
        self._changed = asyncio.Event()
        for listener in list(self._listeners):
            listener()

    def lose(self) -> None:
        """Notes that the registry cannot be reached: nobody waits for a first picture any more."""
        self._settled.set()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls back after each change; what it returns ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def wait_first(self) -> None:
        """Returns when there is a picture, or no hope for one soon."""
        if self._settled.is_set():
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._settled.wait()
        except TimeoutError:
            return

    async def wait_change(self) -> None:
        """Returns after the next picture."""
        await self._changed.wait()

    def find(self, target: str) -> str:
        """`host:port` of a target, or several with commas between them; empty where nobody is.

        Args:
            target: `kind/name`, or a bare kind that has one node.

        Raises:
            TargetNotFoundError: for a bare kind that has several nodes; names them.
        """
        return self._places.get(self._name(target), "")

    def find_one(self, target: str) -> str:
        """`host:port` of one process of a target, as it registered: the same one while it is there,
        and not for all programs the same; empty where nobody is.

        Raises:
            TargetNotFoundError: as `find`.
        """
        at = self._addresses.get(self._name(target), ())
        return max(at, key=lambda address: hash((self._salt, address)), default="")

    def _name(self, target: str) -> str:
        if "/" in target:
            return target
        names = sorted(name for name in self._places if name.startswith(f"{target}/"))
        if len(names) > 1:
            raise TargetNotFoundError(
                f"target {target!r} names more than one node; use one of: {', '.join(names)}",
                context={"target": target},
            )
        return names[0] if names else ""

    def remembers(self, target: str) -> bool:
        """Whether a target has been there before."""
        return target in self._remembered

    def is_taken(self, address: str) -> bool:
        """Whether somebody is registered at `host:port`."""
        return address in self._taken

    def names(self) -> Sequence[str]:
        """The nodes of the picture, as `kind/name`."""
        return sorted(self._places)

    def _remember(self, names: Iterable[str]) -> None:
        if len(self._remembered) > _MOST_REMEMBERED:
            self._remembered.clear()
        for name in names:
            self._remembered.update((name, name.partition("/")[0]))


async def _place(addresses: set[str]) -> str:
    """Several addresses for one channel: gRPC has lists of IP addresses of one version only."""
    listed = sorted(addresses)
    found = dict(zip(listed, await asyncio.gather(*map(_resolve, listed)), strict=True))
    versions = {ip.version for ips in found.values() for ip, _ in ips}
    version = 4 if 4 in versions else 6
    form = "{}:{}" if version == 4 else "[{}]:{}"
    usable = {
        at: form.format(*next(place for place in places if place[0].version == version))
        for at, places in found.items()
        if any(ip.version == version for ip, _ in places)
    }
    if missing := sorted(addresses - usable.keys()):
        _log.warning("registered addresses that are left out: %s", ", ".join(missing))
    return ",".join(sorted(set(usable.values()))) or min(addresses)


_Place = tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]


async def _resolve(address: str) -> list[_Place]:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        return [(ipaddress.ip_address(host), int(port))]
    except ValueError:
        pass
    try:
        # One that nobody answers for must not keep the other nodes from being found.
        async with asyncio.timeout(_RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(
                host, int(port), type=socket.SOCK_STREAM
            )
    except (OSError, UnicodeError):
        return []
    return [(ipaddress.ip_address(place[4][0]), int(port)) for place in found]
