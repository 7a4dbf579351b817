"""What a durable workflow of three steps costs: SDK and bare prototype in one run.

The SDK's four nodes are processes of their own with SQLite in FULL mode; a client process starts a
workflow and waits for its end. `seq3_pure` has three COMPUTE steps, `seq3_durable` three REDUCER
steps. The bare prototype makes the same calls and four commits. All take turns, slice by slice.

    python -m bench.workflow [--json] [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Final

import grpc
import uvloop
from rich.console import Console
from rich.table import Table

from bench.children import Child
from bench.closed_loop import Figures, Slice, closed_loop, figures
from bench.nodes import NODES
from bench.workflow_load import WORKFLOWS, plan_nodes, run_workflow, seq3_pure
from onex.v1 import orchestrator_pb2_grpc
from onex_grpc.rpc import Mesh
from onex_grpc.testing.mesh import LocalMesh

CONCURRENCY: Final = (1, 32)
_SECONDS: Final = 0.8
_WARM_UP_SECONDS: Final = 0.5
Results = dict[str, dict[str, dict[str, Figures]]]


def _start_bare(stack: ExitStack, folder: Path) -> str:
    node = Child(stack, ["bench.bare_workflow", "node"]).first_line
    arguments = ["orchestrator", f"127.0.0.1:{node}", str(folder / "bare.db")]
    return f"127.0.0.1:{Child(stack, ['bench.bare_workflow', *arguments]).first_line}"


def _start_nodes(stack: ExitStack, folder: Path) -> dict[str, str]:
    addresses, commands = plan_nodes(folder)
    for command in commands.values():
        Child(stack, command)
    return addresses


async def measure(rounds: int) -> Results:
    """Figures by place, kind of workflow and concurrency."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onex-bench-")))
        # All processes before any channel: gRPC does not like its process to spawn others.
        children = stack.enter_context(ExitStack())
        bare_address = _start_bare(children, folder)
        addresses = _start_nodes(children, folder)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(bare_address))
        bare = orchestrator_pb2_grpc.OrchestratorNodeServiceStub(channel)
        mesh = Mesh(addresses)
        stack.push_async_callback(mesh.close)
        local = await stack.enter_async_context(LocalMesh(list(NODES.values())))
        remote, inside = (
            each.stub(orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator")
            for each in (mesh, local)
        )
        calls = {
            ("bare", "seq3"): run_workflow(bare, seq3_pure),
            **{
                (place, kind): run_workflow(stub, steps)
                for place, stub in (("processes", remote), ("inprocess", inside))
                for kind, steps in WORKFLOWS.items()
            },
        }
        slices: dict[tuple[str, str, int], list[Slice]] = {
            (*name, c): [] for name in calls for c in CONCURRENCY
        }
        for call in calls.values():
            await closed_loop(call, max(CONCURRENCY), _WARM_UP_SECONDS)
        for number in range(rounds):
            for (place, kind), call in calls.items():
                for concurrency in CONCURRENCY:
                    taken = await closed_loop(call, concurrency, _SECONDS)
                    slices[place, kind, concurrency].append(taken)
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    results: Results = {}
    for (place, kind, concurrency), taken_slices in slices.items():
        by_kind = results.setdefault(place, {}).setdefault(kind, {})
        by_kind[f"c{concurrency}"] = figures(taken_slices)
    return results


def _as_json(results: Results) -> dict[str, object]:
    plain = {
        place: {
            kind: {c: each.as_json() for c, each in by_concurrency.items()}
            for kind, by_concurrency in kinds.items()
        }
        for place, kinds in results.items()
    }
    return {**plain, "bare": plain["bare"]["seq3"]}


def _print_table(results: Results) -> None:
    versions = f"grpcio {grpc.__version__}, Python {platform.python_version()}"
    table = Table(title=f"durable workflows of three steps ({versions})")
    for column in ("where", "workflow", "callers", "per s", "p50 ms", "p99 ms", "/ bare"):
        table.add_column(column, justify="right")
    for place, kinds in results.items():
        for kind, by_concurrency in kinds.items():
            for name, each in by_concurrency.items():
                ratio = each.per_s / results["bare"]["seq3"][name].per_s
                numbers = (f"{each.per_s:.0f}", f"{each.p50_ms:.2f}", f"{each.p99_ms:.2f}")
                table.add_row(place, kind, name, *numbers, f"{ratio:.2f}x")
    Console().print(table)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="what a durable workflow costs")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=5, help="more rounds, less noise")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(measure(options.rounds))
    if options.json:
        print(json.dumps(_as_json(results)))
    else:
        _print_table(results)


if __name__ == "__main__":
    main()
