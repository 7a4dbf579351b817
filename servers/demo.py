"""`make demo`: real orders through server processes, then what they came to.

Its last line on stdout is the summary; progress and the tree of one trace go before it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from onex_grpc.errors import OnexError
from onex_grpc.rpc import Mesh
from onex_grpc.telemetry import Telemetry
from onex_grpc.telemetry.tree import render_tree
from onex_grpc.testing.otlp import OtlpReceiver
from servers.audit import Audit, count
from servers.driver import Driver, Rows
from servers.mesh import running_mesh
from servers.orders_file import OrderRow, OrdersFile, RowError, open_orders
from servers.progress import Progress
from servers.stores import STORES, database
from servers.supervisor import KINDS, REPLICATED, MeshLayout, free_ports

SAMPLE = Path(__file__).parent / "data" / "cdnow_orders.csv"

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class _Orders(click.ParamType[int | None]):
    name = "n|all"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        if value == "all":
            return None
        if isinstance(value, int) or (str(value).isascii() and str(value).isdigit()):
            return int(str(value))
        self.fail(f"{value!r} is neither a number of orders nor 'all'", param, ctx)


@click.command()
@click.option("--orders", type=_Orders(), default=200, show_default=True, help="How many orders.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), default=SAMPLE, help="Orders.")
@click.option(
    "--state", type=click.Path(path_type=Path), help="State folder; a fresh one if absent."
)
@click.option(
    "--store",
    type=click.Choice(STORES),
    default=STORES[0],
    show_default=True,
    help="Where the nodes keep their state; on postgresql two orchestrators share the work.",
)
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object.")
def main(orders: int | None, csv_file: Path, state: Path | None, store: str, as_json: bool) -> None:
    """Processes orders of a CSV file through the sample mesh and audits the result."""
    try:
        folder = (state or _fresh_folder()).resolve()
        with database(store, folder) as address:
            work = _stoppable(open_orders(csv_file, orders), folder, address)
            audit, faults = asyncio.run(work)
    except (asyncio.CancelledError, KeyboardInterrupt):
        click.echo("error: stopped; the same state goes on where it was", err=True)
        sys.exit(1)
    except OnexError as fault:
        click.echo(f"error: {fault}", err=True)
        sys.exit(1)
    except TimeoutError:
        click.echo("error: the mesh did not answer in time; see the logs in its state", err=True)
        sys.exit(1)
    for disagreement in faults:
        click.echo(f"error: {disagreement}", err=True)
    verdict = "failed" if faults else "ok"
    figures = {**asdict(audit), "ok": not faults}
    click.echo(json.dumps(figures) if as_json else f"{audit.summary()} {verdict}")
    sys.exit(1 if faults else 0)


def _fresh_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="onex-demo-"))
    # PostgreSQL's user has to get to its own folder in it.
    folder.chmod(0o711)
    return folder


async def _stoppable(orders: OrdersFile, state: Path, store: str) -> tuple[Audit, list[str]]:
    # As Ctrl-C: nobody else would end the servers.
    work = asyncio.create_task(_demo(orders, state, store))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    return await work


async def _demo(orders: OrdersFile, state: Path, store: str) -> tuple[Audit, list[str]]:
    rows = orders.rows()
    kinds = REPLICATED if store else KINDS
    layout = MeshLayout(state, orders.path.parent, free_ports(len(kinds)), store)
    progress = Progress(len(rows))
    progress.say(f"state in {state}")
    with OtlpReceiver() as receiver:
        own_receiver = not any(name in os.environ for name in _ENDPOINTS)
        if own_receiver:
            os.environ[_ENDPOINTS[0]] = receiver.endpoint
            # One order is traced by the driver's own flag; the others would only cost time.
            os.environ["OTEL_TRACES_SAMPLER"] = "parentbased_always_off"
        telemetry = Telemetry.from_environment(service_name="onex.client.orders")
        driver, audit = await _process(layout, orders, rows, telemetry, progress)
        await telemetry.shutdown(5.0)
        progress.finish()
        if own_receiver and rows:
            trace_id = driver.traced.split("-")[1]
            tree = render_tree([s for s in receiver.spans if s.trace_id == trace_id])
            progress.say(f"trace of the order in line {orders.lines[0]}:\n{tree}")
    for line, fault in sorted(driver.rejected.items()):
        progress.say(f"rejected line {line}: {fault.message}")
    return audit, _disagreements(audit, rows, driver)


async def _process(
    layout: MeshLayout,
    orders: OrdersFile,
    rows: Rows,
    telemetry: Telemetry,
    progress: Progress,
) -> tuple[Driver, Audit]:
    async with running_mesh(layout, progress.say) as supervisor:
        mesh = Mesh(layout.addresses, telemetry=telemetry)
        driver = Driver(mesh, orders, progress.ended)
        work = asyncio.create_task(_drive(driver, rows, mesh, layout.state))
        watch = asyncio.create_task(supervisor.failed())
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                await watch
            return driver, await work
        finally:
            work.cancel()
            watch.cancel()
            await asyncio.gather(work, watch, return_exceptions=True)
            await mesh.close()


async def _drive(driver: Driver, rows: Rows, mesh: Mesh, state: Path) -> Audit:
    await driver.run(rows)
    await driver.intents_done()
    return await count(_accepted(rows), len(driver.rejected), state, mesh)


def _accepted(rows: Rows) -> list[OrderRow]:
    return [row for row in rows.values() if isinstance(row, OrderRow)]


def _disagreements(audit: Audit, rows: Rows, driver: Driver) -> list[str]:
    faults = audit.disagreements(_accepted(rows))
    for line, row in rows.items():
        if isinstance(row, OrderRow) and line in driver.rejected:
            faults.append(f"line {line} is an order, but was rejected: {driver.rejected[line]}")
        if isinstance(row, RowError) and line not in driver.rejected:
            faults.append(f"line {line} is no order ({row}), but was not rejected")
    return faults


if __name__ == "__main__":
    main()
