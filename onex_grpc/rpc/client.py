"""Typed calls to the nodes of a mesh."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self, TypeVar, cast

import grpc

from onex_grpc.errors import TargetNotFoundError
from onex_grpc.rpc import limits
from onex_grpc.rpc.callables import StubChannel
from onex_grpc.rpc.endpoints import endpoints_of
from onex_grpc.rpc.link import Link
from onex_grpc.rpc.local import LocalServer
from onex_grpc.rpc.outgoing import Peer
from onex_grpc.rpc.tls import CertificateFiles, ClientTls, channel_credentials
from onex_grpc.telemetry import NO_TELEMETRY, Telemetry

S = TypeVar("S")
StubType = Callable[[grpc.aio.Channel], S]


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How a mesh calls.

    Attributes:
        default_timeout: seconds for calls that set no timeout; None lets them take any time.
        message_bytes: limit of one message, sent or received.
    """

    default_timeout: float | None = None
    message_bytes: int = limits.MESSAGE_BYTES


class Mesh:
    """Typed calls to nodes: over the network, or in this process.

    A call takes correlation id, lease, epoch, deadline and trace from the call that the running
    code serves (`current_call`); one from outside takes the correlation id of its message, or a
    new one. A node that cannot be reached fails the call at once, unless it says `wait_for_ready`.
    """

    def __init__(
        self,
        addresses: Mapping[str, str | LocalServer],
        *,
        caller: str = "",
        telemetry: Telemetry = NO_TELEMETRY,
        tls: ClientTls | None = None,
        options: ClientOptions | None = None,
    ) -> None:
        """Knows the nodes; connects when they are first called.

        Args:
            addresses: by `kind` or `kind/name`: `host:port`, the server in this process, or the
                endpoints of several processes that serve the node, with commas between them.
            caller: the calling node as `kind/name`; empty for a program that is none.
            telemetry: where spans and durations go.
            tls: certificates of the connections; None connects without TLS.
            options: limits and defaults.

        Raises:
            ConfigurationError: for certificates that cannot be used, and for several endpoints that
                are not IP addresses.
        """
        self._addresses = dict(addresses)
        self._endpoints = {
            target: endpoints_of(address)
            for target, address in addresses.items()
            if isinstance(address, str)
        }
        self._caller = caller
        self._telemetry = telemetry
        self._tls = tls
        self._options = options or ClientOptions()
        self._links: dict[str, Link] = {}
        self._stubs: dict[tuple[object, str], object] = {}
        if tls is not None:
            _files(tls)

    def stub(self, stub_type: StubType[S], target: str) -> S:
        """A generated stub whose methods call a target; the same one each time.

        Args:
            stub_type: the generated stub class, such as `compute_pb2_grpc.ComputeNodeServiceStub`.
            target: `kind` or `kind/name`; the address of a bare kind is that of all nodes of the
                kind that have none of their own, and a bare kind finds the only node of it.

        Raises:
            TargetNotFoundError: for an unknown target; names those that are known.
        """
        # By where it leads: a target may be any client's word, and the cache must not grow with it.
        key = (stub_type, self._resolve(target))
        if key not in self._stubs:
            channel = StubChannel(self._link(key[1]))
            self._stubs[key] = stub_type(cast("grpc.aio.Channel", channel))
        return cast("S", self._stubs[key])

    def has_several(self, target: str) -> bool:
        """Whether several processes may serve a target; raises TargetNotFoundError."""
        endpoints = self._endpoints.get(self._resolve(target))
        return endpoints is not None and bool(endpoints.options)

    def _resolve(self, target: str) -> str:
        if target in self._addresses:
            return target
        kind, _, name = target.partition("/")
        if name and kind in self._addresses:
            return kind
        of_kind = [name for name in self._addresses if name.startswith(f"{target}/")]
        if len(of_kind) == 1:
            return of_kind[0]
        known = ", ".join(sorted(of_kind or self._addresses)) or "none"
        problem = "names more than one node" if of_kind else "is not a node of this mesh"
        raise TargetNotFoundError(
            f"target {target!r} {problem}; use one of: {known}", context={"target": target}
        )

    def _link(self, target: str) -> Link:
        if target not in self._links:
            self._links[target] = self._connect(target, self._addresses[target])
        return self._links[target]

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
            return Link(peer, lambda: local)
        at = self._endpoints[target]
        if (tls := self._tls) is None:
            options = limits.client_options(self._options.message_bytes, "") + at.options
            return Link(peer, lambda: grpc.aio.insecure_channel(at.target, options))
        options = limits.client_options(self._options.message_bytes, tls.server_name) + at.options
        files = _files(tls)
        return Link(
            peer,
            lambda: grpc.aio.secure_channel(at.target, channel_credentials(files), options),
            files,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections; calls in flight fail. The end of an `async with` does so, too."""
        links, self._links = list(self._links.values()), {}
        self._stubs.clear()
        for link in links:
            await link.close()


def _files(tls: ClientTls) -> CertificateFiles:
    return CertificateFiles(tls.certificate, tls.key, tls.ca)
