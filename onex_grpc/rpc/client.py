"""Typed calls to the nodes of a mesh."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self, TypeVar, cast

import grpc

from onex_grpc.contract.node import parse_target
from onex_grpc.errors import (
    ConfigurationError,
    ContractValidationError,
    TargetNotFoundError,
)
from onex_grpc.rpc import limits
from onex_grpc.rpc.callables import StubChannel
from onex_grpc.rpc.directory import Directory
from onex_grpc.rpc.endpoints import endpoints_of
from onex_grpc.rpc.follower import Follower
from onex_grpc.rpc.link import Link
from onex_grpc.rpc.local import LocalServer
from onex_grpc.rpc.outgoing import Peer
from onex_grpc.rpc.places import Places
from onex_grpc.rpc.tls import CertificateFiles, ClientTls, channel_credentials
from onex_grpc.telemetry import NO_TELEMETRY, Telemetry

S = TypeVar("S")
StubType = Callable[[grpc.aio.Channel], S]
_NOWHERE: Final[Mapping[str, str]] = MappingProxyType({})
_REGISTRY: Final = "orchestrator"
_MOST_LINKS: Final = 1000


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How a mesh calls.

    Attributes:
        default_timeout: seconds for calls that set no timeout; None lets them take any time.
        message_bytes: limit of one message, sent or received.
        keepalive: pings on idle connections; the servers have the same.
    """

    default_timeout: float | None = None
    message_bytes: int = limits.MESSAGE_BYTES
    keepalive: limits.Keepalive = limits.KEEPALIVE


class Mesh:
    """Typed calls to nodes: over the network, or in this process.

    A call takes correlation id, lease, epoch, deadline and trace from the call that the running
    code serves (`current_call`); one from outside takes the correlation id of its message, or a
    new one. A node that cannot be reached fails the call at once, unless it says `wait_for_ready`.

    Where a node is, the addresses say; else the registry, whose changes are followed; else the
    defaults.

    One with a registry follows it from the first stub on, until it is closed: use `async with`. One
    that is dropped instead stops, with a ResourceWarning.

    Attributes:
        directory: the registry's latest picture; None without a registry.
    """

    def __init__(
        self,
        addresses: Mapping[str, str | LocalServer] = _NOWHERE,
        *,
        registry: str | Sequence[str] | Directory | None = None,
        defaults: Mapping[str, str] = _NOWHERE,
        caller: str = "",
        telemetry: Telemetry = NO_TELEMETRY,
        tls: ClientTls | None = None,
        options: ClientOptions | None = None,
    ) -> None:
        """Knows the nodes; connects when they are first called.

        Args:
            addresses: by `kind` or `kind/name`: `host:port`, the server in this process, or the
                endpoints of several processes that serve the node, with commas between them.
            registry: orchestrators at which nodes register: `host:port`, several with commas
                between them or as a list; or a directory that somebody else fills.
            defaults: addresses by kind, for nodes that are not found otherwise.
            caller: the calling node as `kind/name`; empty for a program that is none.
            telemetry: where spans and durations go.
            tls: certificates of the connections; None connects without TLS.
            options: limits and defaults.

        Raises:
            ConfigurationError: for certificates that cannot be used, for several endpoints that are
                not IP addresses, and for several with `tls` that has no server_name.
        """
        self._caller = caller
        self._telemetry = telemetry
        self._tls = tls
        self._options = options or ClientOptions()
        if tls is not None:
            _files(tls)
        self.directory: Directory | None = None
        self._follower: Follower | None = None
        self._places: Places | None = None
        self._unlisten: Callable[[], None] | None = None
        # Without a registry, nothing goes before the defaults but an address of the kind.
        self._addresses = {**addresses} if registry else {**defaults, **addresses}
        for address in self._addresses.values():
            if isinstance(address, str):
                self._check(address)
        if registry:
            self._look_up(registry, defaults)
        self._links: dict[str, Link] = {}
        self._stubs: dict[tuple[object, str], object] = {}
        # Whoever has a stub keeps its link, whether or not it is among those above.
        self._moving: weakref.WeakSet[Link] = weakref.WeakSet()

    def _check(self, address: str) -> None:
        endpoints_of(address)
        if "," in address and self._expects_host():
            raise ConfigurationError(
                f"address {address!r}: of several endpoints tls needs the server_name that their "
                "certificates have in common"
            )

    def _expects_host(self) -> bool:
        """Whether certificates must be those of the host that is called."""
        return self._tls is not None and not self._tls.server_name

    def _look_up(
        self, registry: str | Sequence[str] | Directory, defaults: Mapping[str, str]
    ) -> None:
        if isinstance(registry, Directory):
            directory = registry
        else:
            at = registry if isinstance(registry, str) else ",".join(registry)
            directory = Directory(f"the registry at {at}")
            mesh = Mesh({_REGISTRY: at}, caller=self._caller, tls=self._tls, options=self._options)
            self._follower = Follower(mesh, directory)
        self.directory = directory
        one = self._expects_host()
        self._places = Places(directory, defaults, directory.find_one if one else directory.find)
        # A mesh that is dropped goes, though its directory is still followed.
        self._unlisten = directory.listen(_weakly(weakref.WeakMethod(self._move)))

    def stub(self, stub_type: StubType[S], target: str) -> S:
        """A generated stub whose methods call a target; the same one each time.

        Args:
            stub_type: the generated stub class, such as `compute_pb2_grpc.ComputeNodeServiceStub`.
            target: `kind` or `kind/name`; the address of a bare kind is that of all nodes of the
                kind that have none of their own, and a bare kind finds the only node of it.

        Raises:
            TargetNotFoundError: for an unknown target; names those that are known. With a registry
                only for what is no target: whether a node is there, each call finds out.
        """
        # By where it leads: a target may be any client's word, and the cache must not grow with it.
        key = (stub_type, self._resolve(target))
        if key not in self._stubs:
            channel = StubChannel(self._link(key[1]))
            self._stubs[key] = stub_type(cast("grpc.aio.Channel", channel))
        return cast("S", self._stubs[key])

    def require(self, target: str) -> None:
        """Refuses a target that cannot be called now; one that has an address is not tried.

        Raises:
            TargetNotFoundError: for an unknown target; names those that are known.
            NodeUnavailableError: for one that has left the registry.
        """
        if self._resolve(target) not in self._addresses and self._places is not None:
            self._places.require(target)

    def has_several(self, target: str) -> bool:
        """Whether several processes may serve a target; raises TargetNotFoundError."""
        resolved = self._resolve(target)
        address = self._addresses.get(resolved)
        if address is None:
            return True
        return isinstance(address, str) and bool(endpoints_of(address).options)

    def _resolve(self, target: str) -> str:
        if target in self._addresses:
            return target
        kind, _, name = target.partition("/")
        if name and kind in self._addresses:
            return kind
        of_kind = [name for name in self._addresses if name.startswith(f"{target}/")]
        if len(of_kind) == 1:
            return of_kind[0]
        if not of_kind and self._places is not None and _is_target(target):
            return target
        known = ", ".join(sorted(of_kind or self._addresses)) or "none"
        problem = "names more than one node" if of_kind else "is not a node of this mesh"
        raise TargetNotFoundError(
            f"target {target!r} {problem}; use one of: {known}", context={"target": target}
        )

    def _link(self, target: str) -> Link:
        if target not in self._links:
            if self._follower is not None:
                self._follower.start()
            self._make_room()
            self._links[target] = self._connect(target, self._addresses.get(target, ""))
        return self._links[target]

    def _make_room(self) -> None:
        """Forgets links of the registry's nodes; those whose stubs are in use connect again."""
        if len(self._links) < _MOST_LINKS:
            return
        for target in [target for target in self._links if target not in self._addresses]:
            self._links.pop(target).leave()
        self._stubs = {key: stub for key, stub in self._stubs.items() if key[1] in self._links}

    def _connect(self, target: str, address: str | LocalServer) -> Link:
        peer = Peer(
            target,
            address if isinstance(address, str) else "this process",
            caller=self._caller,
            telemetry=self._telemetry,
            default_timeout=self._options.default_timeout,
        )
        if isinstance(address, LocalServer):
            local = cast("grpc.aio.Channel", address.channel())
            return Link(peer, lambda _: local)
        files = None if self._tls is None else _files(self._tls)
        link = Link(
            peer,
            lambda address: self._channel(address, files),
            files,
            None if address else self._places,
        )
        if not address:
            self._moving.add(link)
        return link

    def _channel(self, address: str, files: CertificateFiles | None) -> grpc.aio.Channel:
        at = endpoints_of(address)
        server_name = "" if self._tls is None else self._tls.server_name
        own = self._options
        options = limits.client_options(own.message_bytes, own.keepalive, server_name) + at.options
        if files is None:
            return grpc.aio.insecure_channel(at.target, options)
        return grpc.aio.secure_channel(at.target, channel_credentials(files), options)

    def _move(self) -> None:
        for link in list(self._moving):
            link.move()

    def __del__(self) -> None:
        # Absent where the mesh could not be made.
        follower: Follower | None = getattr(self, "_follower", None)
        unlisten: Callable[[], None] | None = getattr(self, "_unlisten", None)
        if unlisten is not None:
            unlisten()
        if follower is not None and follower.running:
            follower.abandon()
            warnings.warn(
                f"a Mesh that follows {follower.source} was dropped; close it, or use `async with`",
                ResourceWarning,
                stacklevel=1,
            )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections; calls in flight fail. The end of an `async with` does so, too."""
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None
        if self._follower is not None:
            await self._follower.close()
        links = {*self._links.values(), *self._moving}
        self._links = {}
        self._stubs.clear()
        for link in links:
            await link.close()


def _weakly(method: weakref.WeakMethod[Callable[[], None]]) -> Callable[[], None]:
    def call() -> None:
        if (present := method()) is not None:
            present()

    return call


def _is_target(target: str) -> bool:
    try:
        parse_target(target)
    except ContractValidationError:
        return False
    return True


def _files(tls: ClientTls) -> CertificateFiles:
    return CertificateFiles(tls.certificate, tls.key, tls.ca)
