"""`onex queue`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from onex.v1 import intent_pb2, intent_pb2_grpc
from onex_grpc.cli.table import show_table
from onex_grpc.errors import ConfigurationError
from onex_grpc.rpc.client import Mesh
from onex_grpc.serve.client_tls import client_tls
from onex_grpc.serve.config import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.duration_pb2 import Duration

_REDUCER: Final = "reducer"


@dataclass(frozen=True)
class Priority:
    """The unfinished intents of one priority.

    Attributes:
        priority: CRITICAL, HIGH, NORMAL, LOW or BACKGROUND.
        pending: how many wait.
        in_flight: how many are with workers.
        oldest_seconds: how long the oldest has waited; null where none of those looked at does.
    """

    priority: str
    pending: int
    in_flight: int
    oldest_seconds: float | None


@dataclass(frozen=True)
class Route:
    """The waiting intents of one route.

    Attributes:
        route: `custom/<message>`, `custom/<message>/<target>`, `target/<name>`; empty for any.
        pending: how many wait.
        oldest_seconds: how long the oldest has waited; null where none of those looked at does.
        workers: how many workers that take them are connected to the process that was asked.
    """

    route: str
    pending: int
    oldest_seconds: float | None
    workers: int


@dataclass(frozen=True)
class Queue:
    """What `onex queue --json` prints.

    Attributes:
        node: the reducer.
        status: how many intents there are, by status.
        priorities: those of which anything is unfinished, the most urgent first.
        routes: those on which anything waits, the longest-waiting first.
    """

    node: str
    status: dict[str, int]
    priorities: Sequence[Priority]
    routes: Sequence[Route]


@click.command()
@click.option(
    "--node",
    metavar="NODE",
    default=_REDUCER,
    show_default=True,
    help="The reducer, as reducer/orders, found as a node's calls find it.",
)
@click.option(
    "--address", metavar="HOST:PORT", help="The process to ask, whatever the settings say."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--timeout", default=5.0, show_default=True, help="Seconds to wait for the answer.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Settings with addresses, registry and certificates; onex.toml here, if there is one.",
)
def queue(
    node: str, address: str | None, as_json: bool, timeout: float, config: Path | None
) -> None:
    """Shows what waits in a reducer's queue of intents, and who takes it.

    WORKERS 0 beside a route: nobody who is connected can execute these intents. Exit code 0 when
    the reducer answers, 2 when it does not.
    """
    report = asyncio.run(_ask(node, address, timeout, config))
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        _show(report)


async def _ask(node: str, address: str | None, timeout: float, config: Path | None) -> Queue:
    settings = load_settings(config)
    if node.partition("/")[0] != _REDUCER:
        raise ConfigurationError(f"--node {node!r}: only a reducer has a queue, as reducer/orders")
    mesh = Mesh(
        {node: address} if address else settings.mesh_addresses(),
        registry=None if address else settings.registry_address(),
        defaults=settings.default_addresses(),
        tls=None if settings.tls is None else client_tls(settings.tls),
    )
    async with mesh:
        stub = mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, node)
        stats = await stub.GetQueueStats(intent_pb2.GetQueueStatsRequest(), timeout=timeout)
    return Queue(
        node=node,
        status={
            "pending": stats.pending,
            "in_flight": stats.in_flight,
            "completed": stats.completed,
            "dead": stats.dead,
            "cancelled": stats.cancelled,
        },
        priorities=[_priority(row) for row in stats.priorities],
        routes=[_route(row) for row in stats.routes],
    )


def _priority(row: intent_pb2.PriorityStats) -> Priority:
    name = intent_pb2.IntentPriority.Name(row.priority).removeprefix("INTENT_PRIORITY_")
    age = _seconds(row.oldest_pending_age) if row.HasField("oldest_pending_age") else None
    return Priority(name, row.pending, row.in_flight, age)


def _route(row: intent_pb2.RouteStats) -> Route:
    age = _seconds(row.oldest_pending_age) if row.HasField("oldest_pending_age") else None
    return Route(row.route, row.pending, age, row.workers)


def _seconds(age: Duration) -> float:
    return round(age.ToMicroseconds() / 1_000_000, 1)


def _show(report: Queue) -> None:
    status = [("STATUS", "INTENTS")]
    status += [(name, str(count)) for name, count in report.status.items()]
    priorities = [("PRIORITY", "PENDING", "IN FLIGHT", "OLDEST")]
    priorities += [
        (p.priority, str(p.pending), str(p.in_flight), _age(p.oldest_seconds))
        for p in report.priorities
    ]
    routes = [("ROUTE", "PENDING", "OLDEST", "WORKERS")]
    routes += [
        (r.route or "-", str(r.pending), _age(r.oldest_seconds), str(r.workers))
        for r in report.routes
    ]
    show_table(status)
    for table in (priorities, routes):
        if len(table) > 1:
            click.echo()
            show_table(table)


def _age(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"
