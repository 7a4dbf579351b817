"""The life of a node's process: open, serve, drain, close."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click
import uvloop

from onex_grpc.contract.node import kind_name, node_name
from onex_grpc.errors import OnexError
from onex_grpc.rpc.calls import CallRuntime
from onex_grpc.rpc.client import ClientOptions, Mesh
from onex_grpc.rpc.limits import PENDING_CALLS
from onex_grpc.rpc.server import Server, ServerOptions
from onex_grpc.rpc.tls import ServerTls
from onex_grpc.serve.call_limit import QUEUED_PER_SLOT
from onex_grpc.serve.client_tls import client_tls
from onex_grpc.serve.discovery import Discovery
from onex_grpc.serve.faults import describe_fault
from onex_grpc.serve.forked import end_child, end_strays
from onex_grpc.serve.health import add_health
from onex_grpc.serve.host import NodeHost, named
from onex_grpc.serve.stop import stop_signals
from onex_grpc.telemetry import Telemetry, configure_logging

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from onex_grpc.node.base import Node
    from onex_grpc.registry import Member
    from onex_grpc.serve.settings import Settings, TlsSettings

_log = logging.getLogger(__name__)

EXIT_MISTAKE: Final = 2
"""Exit code for what the user can mend: a setting, a port or a state folder in use."""
EXIT_FAULT: Final = 1
"""Exit code for a fault of the node's own code."""
_COLLECTED_AFTER: Final = 10_000
"""Objects made and not freed since the last collection, which makes the next one due."""
_FLUSH_SECONDS: Final = 5.0


def run_process(node_class: type[Node], settings: Settings) -> NoReturn:
    """Serves a node until SIGTERM or SIGINT, then ends the process.

    Its one line on stdout, `serving kind/name on host:port`, is for supervisors. It exits with 0
    after a clean stop, with 2 and one line on stderr for a mistake that the user can mend, with 1
    for a fault of the node's own code, whose traceback is in the log.
    """
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            node_pid = os.getpid()
            try:
                runner.run(run(node_class, settings))
            except BaseException as ended:
                end_child(node_pid, ended)
                raise
    except OnexError as fault:
        click.echo(f"error: {fault}", err=True)
        raise SystemExit(EXIT_MISTAKE) from None
    except Exception as fault:
        _log.critical("%s ended by a fault", node_class.__name__, exc_info=fault)
        click.echo(f"error: {node_class.__name__} failed: {describe_fault(fault)}", err=True)
        raise SystemExit(EXIT_FAULT) from None
    raise SystemExit(0)


async def run(node_class: type[Node], settings: Settings) -> None:
    """Serves a node until SIGTERM or SIGINT.

    The store is opened first, then the port is bound, then the node starts, and only then does it
    say SERVING; it ends in the opposite order, calls in flight first.

    Raises:
        OnexError: when it cannot start.
    """
    node_class = named(node_class, settings.name)
    kind, name = kind_name(node_class.descriptor.node_type), node_name(node_class.descriptor)
    configure_logging(node=name, level=settings.log_level)
    with stop_signals() as stopped:
        async with AsyncExitStack() as resources:
            resources.callback(end_strays())
            telemetry = Telemetry.from_environment(node=name)
            resources.push_async_callback(telemetry.shutdown, _FLUSH_SECONDS)
            telemetry.install()
            discovery = Discovery(settings, kind, name)
            resources.push_async_callback(discovery.close)
            mesh = _make_mesh(settings, name, telemetry, discovery)
            resources.push_async_callback(mesh.close)
            runtime = CallRuntime(node=name, telemetry=telemetry)
            host = await _unless(stopped, NodeHost.create(node_class, settings, runtime, mesh))
            if host is None:
                return
            resources.push_async_callback(host.stop)
            server = Server(runtime, _server_options(settings, kind), on_drain=[host.stop_serving])
            server.add(add_health, host.health)
            for service in host.services():
                server.add(service.register, service.servicer)
            resources.push_async_callback(server.drain, settings.drain_grace)
            port = await server.start()
            discovery.start(host.node)
            await host.start(server.services)
            member = await discovery.member(host, port)
            _spare_collections()
            click.echo(f"serving {name} on {settings.host}:{port}")
            if member is None:
                await stopped.wait()
            else:
                # First of all, so that others call it no more when it begins to refuse them.
                server.on_drain.insert(0, member.leave)
                await _be_member(member, stopped)


def _spare_collections() -> None:
    """Exempt what has been built so far from garbage collection, since it lasts as long as the
    process, and collect less often: calls leave no cycles, so nearly all that a collection meets
    belongs to calls in flight.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER)


async def _be_member(member: Member, stopped: asyncio.Event) -> None:
    """Registers, and returns when the process is told to stop.

    Raises:
        StoreInUseError: when the registry refuses it, now or later.
    """
    member.start()
    stopping = asyncio.ensure_future(stopped.wait())
    refused = asyncio.ensure_future(member.refused())
    try:
        await asyncio.wait((stopping, refused), return_when=asyncio.FIRST_COMPLETED)
        if refused.done():
            raise refused.result()
    finally:
        stopping.cancel()
        refused.cancel()


async def _unless(
    stopped: asyncio.Event, creating: Coroutine[object, object, NodeHost]
) -> NodeHost | None:
    """The host; None where the process is told to stop before, as while its database is down."""
    made = asyncio.ensure_future(creating)
    stopping = asyncio.ensure_future(stopped.wait())
    try:
        await asyncio.wait((made, stopping), return_when=asyncio.FIRST_COMPLETED)
        return await made if made.done() else None
    finally:
        made.cancel()
        stopping.cancel()
        await asyncio.gather(made, stopping, return_exceptions=True)


def _make_mesh(settings: Settings, name: str, telemetry: Telemetry, discovery: Discovery) -> Mesh:
    return Mesh(
        settings.mesh_addresses(),
        registry=discovery.directory,
        defaults=settings.default_addresses(),
        caller=name,
        telemetry=telemetry,
        tls=None if settings.tls is None else client_tls(settings.tls),
        options=ClientOptions(message_bytes=settings.limits.message_bytes),
    )


def _server_options(settings: Settings, kind: str) -> ServerOptions:
    return ServerOptions(
        host=settings.host,
        port=settings.port_for(kind),
        tls=None if settings.tls is None else _server_tls(settings.tls),
        message_bytes=settings.limits.message_bytes,
        reflection=settings.reflection,
        pending_calls=max(PENDING_CALLS, (1 + QUEUED_PER_SLOT) * settings.limits.concurrent_calls),
    )


def _server_tls(tls: TlsSettings) -> ServerTls:
    client_ca = Path(tls.ca) if tls.mode == "mtls" else None
    return ServerTls(Path(tls.cert), Path(tls.key), client_ca)
