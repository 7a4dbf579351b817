"""A gRPC server whose methods all go through the one wrapper."""

from __future__ import annotations

import ipaddress
import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar, cast

import grpc

from onex_grpc.errors import ConfigurationError
from onex_grpc.forks import keep_from_children
from onex_grpc.rpc import limits
from onex_grpc.rpc.descriptors import descriptors_of_server
from onex_grpc.rpc.recorder import OWN_SERVICES, Registry
from onex_grpc.rpc.tls import ServerTls, server_credentials
from onex_grpc.rpc.transport import incoming

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from onex_grpc.rpc.calls import CallRuntime

# Read when gRPC starts. Its own handlers of forks, on by default in its newest versions, start its
# threads again in the child, where they abort over what `forks` has taken from it.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

S = TypeVar("S")
_log = logging.getLogger(__name__)
_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Where and how a server listens.

    Attributes:
        host: address to bind; one that is not loopback needs `tls`.
        port: port to bind; 0 takes a free one.
        tls: certificate files; None serves without TLS.
        message_bytes: limit of one message, received or sent.
        reflection: whether clients may ask which services and messages there are.
        keepalive: pings on idle connections; clients of the mesh have the same.
        pending_calls: calls that may have arrived without their handlers having begun; gRPC breaks
            off those beyond.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls: ServerTls | None = None
    message_bytes: int = limits.MESSAGE_BYTES
    reflection: bool = True
    keepalive: limits.Keepalive = limits.KEEPALIVE
    pending_calls: int = limits.PENDING_CALLS


class _Methods(grpc.GenericRpcHandler):
    def __init__(self, methods: Mapping[str, object]) -> None:
        self._methods = methods

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[object, object] | None:
        incoming.set(handler_call_details.invocation_metadata)
        found = self._methods.get(handler_call_details.method)
        return cast("grpc.RpcMethodHandler[object, object] | None", found)


class Server:
    """Serves the methods of servicers until it is drained.

    Attributes:
        on_drain: what is called, in order, before anything else when draining begins: health says
            NOT_SERVING here.
    """

    def __init__(
        self,
        runtime: CallRuntime,
        options: ServerOptions,
        *,
        on_drain: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self.on_drain = list(on_drain)
        self._runtime = runtime
        self._options = options
        self._registry = Registry(runtime, options.message_bytes)
        self._server: grpc.aio.Server | None = None
        self._share: Callable[[], None] = lambda: None

    @property
    def services(self) -> Sequence[str]:
        """Full names of the services that were added."""
        return tuple(self._registry.services)

    def add(self, register: Callable[[S, grpc.aio.Server], None], servicer: S) -> None:
        """Adds a servicer before the server starts.

        Args:
            register: the generated `add_…Servicer_to_server`.
            servicer: its servicer, with `async def` methods.

        Raises:
            ConfigurationError: for a service that was added before.
        """
        self._registry.add(register, servicer)

    async def start(self) -> int:
        """Begins to serve.

        Returns:
            The port that is bound.

        Raises:
            ConfigurationError: for a port that is in use, an address that cannot be bound, one
                that is not loopback without TLS, or TLS files that cannot be used.
        """
        options = self._options
        _check_address(options)
        if options.reflection:
            self._add_reflection()
        server = grpc.aio.server(
            options=limits.server_options(
                options.message_bytes, options.keepalive, options.pending_calls
            )
        )
        server.add_generic_rpc_handlers([_Methods(self._registry.grpc_handlers())])
        port = _bind(server, options)
        await server.start()
        self._server = server
        self._share = keep_from_children(lambda: descriptors_of_server(port))
        _log.info("node %s serves on %s port %d", self._runtime.node, options.host, port)
        return port

    async def drain(self, grace: float) -> None:
        """Stops without losing a call: says so, refuses new calls, lets those in flight finish.

        Args:
            grace: seconds after which calls that still run are cancelled.
        """
        began = time.monotonic()
        for hook in self.on_drain:
            await hook()
        self._runtime.refuse_new()
        await self._runtime.wait_idle(grace)
        if self._server is not None:
            # The handlers are done, but the last answers may still be on their way out.
            left = max(0.0, grace - (time.monotonic() - began))
            await self._server.stop(min(left, 0.5))
            self._server = None
            self._share()
        # A handler that was cancelled just now still has its cleaning up to do.
        await self._runtime.wait_idle(1.0)

    async def wait_stopped(self) -> None:
        """Returns when the server has stopped."""
        if self._server is not None:
            await self._server.wait_for_termination()

    def _add_reflection(self) -> None:
        from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

        names = [*self._registry.services, reflection.SERVICE_NAME]
        self._registry.add(
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server,
            reflection.aio.ReflectionServicer(names),
        )


def _check_address(options: ServerOptions) -> None:
    if not 0 <= options.port <= _MAX_PORT:
        raise ConfigurationError(f"port {options.port} does not exist; use 0 to {_MAX_PORT}")
    if options.tls is None and not is_loopback(options.host):
        raise ConfigurationError(
            f"host {options.host} can be reached from outside, and there is no TLS; set tls "
            "certificate and key, or bind 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address; other names than localhost count as not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _bind(server: grpc.aio.Server, options: ServerOptions) -> int:
    host = options.host.strip("[]")
    address = f"[{host}]:{options.port}" if ":" in host else f"{host}:{options.port}"
    try:
        if options.tls is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, server_credentials(options.tls))
    except RuntimeError:
        raise ConfigurationError(
            f"port {options.port} on {options.host} cannot be bound: it is in use, or not allowed; "
            "stop what listens there, or set another port"
        ) from None


__all__ = ["OWN_SERVICES", "Server", "ServerOptions", "is_loopback"]
