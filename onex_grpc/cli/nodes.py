"""`onex nodes`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from onex.v1 import registry_pb2, registry_pb2_grpc
from onex_grpc.cli.table import show_table
from onex_grpc.contract.node import node_name
from onex_grpc.rpc.client import Mesh
from onex_grpc.serve.client_tls import client_tls
from onex_grpc.serve.config import load_settings
from onex_grpc.serve.settings import DEFAULT_PORTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.rpc.tls import ClientTls

_ORCHESTRATOR: Final = "orchestrator"


@dataclass(frozen=True)
class Process:
    """What `onex nodes --json` prints of each process.

    Attributes:
        node: the node as `kind/name`.
        instance: which of the node's processes it is; empty where there can be one only.
        address: where it is reached, as `host:port`.
        version: the version of the node's contract.
        since: when it was registered first, as RFC 3339 has it, in UTC.
    """

    node: str
    instance: str
    address: str
    version: str
    since: str


@click.command()
@click.option(
    "--registry",
    metavar="HOST:PORT",
    help="An orchestrator; that of the settings, or the default port here.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@click.option("--timeout", default=5.0, show_default=True, help="Seconds to wait for the answer.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Settings with registry and certificates; onex.toml here, if there is one.",
)
def nodes(registry: str | None, as_json: bool, timeout: float, config: Path | None) -> None:
    """Lists the processes that serve the nodes of a mesh.

    Exit code 0 when the registry answers, 2 when it does not.
    """
    settings = load_settings(config)
    at = registry or settings.registry_address() or f"127.0.0.1:{DEFAULT_PORTS[_ORCHESTRATOR]}"
    tls = None if settings.tls is None else client_tls(settings.tls)
    processes = asyncio.run(_ask(at, tls, timeout))
    if as_json:
        click.echo(msgspec.json.encode(processes).decode())
    else:
        _show(processes)


async def _ask(address: str, tls: ClientTls | None, timeout: float) -> Sequence[Process]:
    async with Mesh({_ORCHESTRATOR: address}, tls=tls) as mesh:
        stub = mesh.stub(registry_pb2_grpc.RegistryServiceStub, _ORCHESTRATOR)
        answer = await stub.ListNodes(registry_pb2.ListNodesRequest(), timeout=timeout)
    return [_process(node) for node in answer.nodes]


def _process(node: registry_pb2.RegisteredNode) -> Process:
    return Process(
        node=node_name(node.node),
        instance=node.instance,
        address=node.address,
        version=node.node.version,
        since=node.registered_at.ToDatetime().isoformat(timespec="seconds") + "Z",
    )


def _show(processes: Sequence[Process]) -> None:
    rows = [("NODE", "INSTANCE", "ADDRESS", "VERSION", "SINCE")]
    rows += [(p.node, p.instance or "-", p.address, p.version, p.since) for p in processes]
    show_table(rows)
