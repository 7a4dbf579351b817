"""`onex health ADDRESS`."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from onex.v1 import node_pb2, node_pb2_grpc
from onex_grpc.contract.node import node_name
from onex_grpc.rpc.client import Mesh
from onex_grpc.serve.client_tls import client_tls
from onex_grpc.serve.config import load_settings
from onex_grpc.serve.health_client import list_health

if TYPE_CHECKING:
    from onex_grpc.rpc.tls import ClientTls


@dataclass(frozen=True)
class Report:
    """What `onex health --json` prints.

    Attributes:
        address: the process that was asked.
        node: the node as `kind/name`.
        version: the version of the node's contract.
        serving: whether the process takes calls.
        status: HEALTHY, DEGRADED or UNHEALTHY.
        dependencies: whether what the node needs answers, by name.
        resource_usage: the largest share of CPU, memory and calls in flight; 1.0 is all.
        error_rate: share of failed calls in the last minute.
        uptime_seconds: how long the process has served.
        services: SERVING or NOT_SERVING by service.
    """

    address: str
    node: str
    version: str
    serving: bool
    status: str
    dependencies: dict[str, bool]
    resource_usage: float
    error_rate: float
    uptime_seconds: float
    services: dict[str, str]


@click.command()
@click.argument("address", metavar="HOST:PORT")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--timeout", default=5.0, show_default=True, help="Seconds to wait for answers.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Settings with the certificates for TLS; onex.toml here, if there is one.",
)
def health(address: str, as_json: bool, timeout: float, config: Path | None) -> None:
    """Asks the process at HOST:PORT how it and each of its services is.

    Exit code 0 when it serves, 1 when it does not, 2 when it cannot be asked.
    """
    settings = load_settings(config)
    tls = None if settings.tls is None else client_tls(settings.tls)
    report = asyncio.run(_ask(address, tls, timeout))
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        _show(report)
    sys.exit(0 if report.serving else 1)


async def _ask(address: str, tls: ClientTls | None, timeout: float) -> Report:
    statuses = await list_health(address, tls, timeout)
    if statuses.get("") != "SERVING":
        # It is starting or draining, and answers nothing else now.
        click.echo(f"{address}: NOT_SERVING", err=True)
        sys.exit(1)
    mesh = Mesh({"node": address}, tls=tls)
    try:
        about = mesh.stub(node_pb2_grpc.NodeServiceStub, "node")
        described = await about.DescribeNode(node_pb2.DescribeNodeRequest(), timeout=timeout)
        looked = await about.GetNodeHealth(node_pb2.GetNodeHealthRequest(), timeout=timeout)
    finally:
        await mesh.close()
    node, figures = described.node, looked.health
    status = node_pb2.HealthStatus.Name(figures.status).removeprefix("HEALTH_STATUS_")
    return Report(
        address=address,
        node=node_name(node),
        version=node.version,
        serving=statuses.pop("", "") == "SERVING",
        status=status,
        dependencies=dict(figures.dependencies),
        resource_usage=round(figures.resource_usage, 3),
        error_rate=round(figures.error_rate, 3),
        uptime_seconds=round(figures.uptime.ToTimedelta().total_seconds(), 1),
        services=statuses,
    )


def _show(report: Report) -> None:
    facts = {
        report.node: f"{report.status}, version {report.version}, at {report.address}",
        "up": f"{report.uptime_seconds:.0f} s",
        "usage": f"{report.resource_usage:.0%} of CPU, memory or calls, whichever is most",
        "errors": f"{report.error_rate:.0%} of the last minute's calls",
        **{f"needs {n}": "answers" if ok else "DOWN" for n, ok in report.dependencies.items()},
        **report.services,
    }
    # Not a rich table, which wraps and cuts what is wider than the screen: this is for grep, too.
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name:<{width}}  {value}")
