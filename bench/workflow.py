"""What a durable workflow of three steps costs: SDK and bare prototype in one run.

The SDK's four nodes are processes of their own with SQLite in FULL mode; a client process starts a
workflow and waits for its end. `seq3_pure` has three COMPUTE steps, `seq3_durable` three REDUCER
steps. The bare prototype makes the same calls and four commits. All take turns, slice by slice.

    python -m bench.workflow [--json] [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import sys
import tempfile
import uuid
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import uvloop
from rich.console import Console
from rich.table import Table

from bench.closed_loop import Figures, Slice, closed_loop, figures
from bench.nodes import NODES
from onex.v1 import (
    compute_pb2,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
    reducer_pb2,
)
from onex_grpc.contract import data
from onex_grpc.rpc import Mesh
from onex_grpc.testing.mesh import LocalMesh
from servers.supervisor import free_ports

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_CONCURRENCY: Final = (1, 32)
_SECONDS: Final = 0.8
_WARM_UP_SECONDS: Final = 0.5
Step = orchestrator_pb2.WorkflowStep
Results = dict[str, dict[str, dict[str, Figures]]]

_RUN: Final = uuid.uuid4().hex[:8]
_numbers = itertools.count()


def _pure(_: str) -> list[Step]:
    echo = compute_pb2.AlgorithmConfig(algorithm_type="echo")
    contract = compute_pb2.ModelContractCompute(algorithm_config=echo, input_data=data.pack(1))
    return [Step(step_id=f"s{n}", target_node="compute", compute=contract) for n in range(3)]


def _durable(workflow_id: str) -> list[Step]:
    contract = reducer_pb2.ModelContractReducer(
        reduction_config=reducer_pb2.ReductionConfig(state_key=workflow_id),
        input_data=reducer_pb2.ReducerInput(action="COUNT"),
    )
    return [Step(step_id=f"s{n}", target_node="reducer", reducer=contract) for n in range(3)]


def _workflow(steps: Callable[[str], list[Step]]) -> orchestrator_pb2.ModelContractOrchestrator:
    workflow_id = f"bench-{_RUN}-{next(_numbers)}"
    return orchestrator_pb2.ModelContractOrchestrator(
        workflow_id=workflow_id,
        workflow_config=orchestrator_pb2.WorkflowConfig(
            coordination_type=orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL,
            steps=steps(workflow_id),
        ),
    )


def _call(
    stub: orchestrator_pb2_grpc.OrchestratorNodeServiceStub,
    steps: Callable[[str], list[Step]],
) -> Callable[[], Awaitable[object]]:
    async def call() -> object:
        return await stub.ExecuteOrchestration(_workflow(steps), timeout=60)

    return call


async def _spawn(stack: AsyncExitStack, *arguments: str) -> str:
    """Starts one of our modules as a process; returns the first line that it prints."""
    # Nothing is recorded, here or there, whatever this shell exports to.
    untold = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, stdout=asyncio.subprocess.PIPE, env=untold
    )

    async def stop() -> None:
        process.terminate()
        await process.wait()

    stack.push_async_callback(stop)
    if process.stdout is None or not (line := await process.stdout.readline()):
        raise SystemExit(f"{arguments[0]} did not start; see its message above")
    return line.decode().strip()


async def _start_bare(stack: AsyncExitStack, folder: Path) -> str:
    node = await _spawn(stack, "bench.bare_workflow", "node")
    arguments = ("orchestrator", f"127.0.0.1:{node}", str(folder / "bare.db"))
    return f"127.0.0.1:{await _spawn(stack, 'bench.bare_workflow', *arguments)}"


async def _start_nodes(stack: AsyncExitStack, folder: Path) -> dict[str, str]:
    ports = dict(zip(NODES, free_ports(len(NODES)), strict=True))
    addresses = {kind: f"127.0.0.1:{port}" for kind, port in ports.items()}
    config = folder / "onex.toml"
    lines = [f"state = {json.dumps(str(folder))}", 'queues = ["reducer"]', 'log_level = "error"']
    lines.append("[addresses]")
    lines += [f"{kind} = {json.dumps(address)}" for kind, address in addresses.items()]
    config.write_text("\n".join(lines), encoding="utf-8")
    for kind, port in ports.items():
        await _spawn(stack, "bench.nodes", kind, "--config", str(config), "--port", str(port))
    return addresses


async def measure(rounds: int) -> Results:
    """Figures by place, kind of workflow and concurrency."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onex-bench-")))
        # All processes before any channel: gRPC does not like its process to spawn others.
        bare_address = await _start_bare(stack, folder)
        addresses = await _start_nodes(stack, folder)
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
            ("bare", "seq3"): _call(bare, _pure),
            ("processes", "seq3_pure"): _call(remote, _pure),
            ("processes", "seq3_durable"): _call(remote, _durable),
            ("inprocess", "seq3_pure"): _call(inside, _pure),
            ("inprocess", "seq3_durable"): _call(inside, _durable),
        }
        slices: dict[tuple[str, str, int], list[Slice]] = {
            (*name, c): [] for name in calls for c in _CONCURRENCY
        }
        for call in calls.values():
            await closed_loop(call, max(_CONCURRENCY), _WARM_UP_SECONDS)
        for number in range(rounds):
            for (place, kind), call in calls.items():
                for concurrency in _CONCURRENCY:
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
