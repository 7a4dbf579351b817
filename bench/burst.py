"""Bursts of calls at one node: how many fail, and how long the last ones take.

Serves a compute node with the default limits in a process of its own, sends it several bursts of
concurrent calls, each over one connection, and exits with 1 where a call fails. `--work` is how
long the handler waits, so that more calls run at a time than `limits.concurrent_calls` allows.

    python -m bench.burst [--json] [--bursts N] [--calls N] [--work SECONDS]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
from rich.console import Console
from rich.table import Table

from onex.v1 import compute_pb2, compute_pb2_grpc, node_pb2
from onex_grpc.contract import data
from onex_grpc.errors import OnexError
from onex_grpc.node import NodeCompute
from onex_grpc.rpc import Mesh
from onex_grpc.testing.process import NodeProcess

if TYPE_CHECKING:
    from onex_grpc.compute import AlgorithmRegistry, ComputeInput

_TIMEOUT: Final = 120.0


class Waiter(NodeCompute):
    """The node that is called: each call waits as long as it says."""

    descriptor = node_pb2.NodeDescriptor(name="waiter", version="1.0.0")

    def register_algorithms(self, registry: AlgorithmRegistry) -> None:
        """Adds the only one."""
        registry.register("wait", _wait)


async def _wait(given: ComputeInput) -> float:
    seconds = given.value()
    if not isinstance(seconds, float):
        raise given.invalid("must be a number of seconds")
    await asyncio.sleep(seconds)
    return seconds


@dataclass(frozen=True, slots=True)
class Bursts:
    """The outcome of all bursts.

    Attributes:
        grpcio: the version at both ends.
        calls: how many were made.
        failed: how many of them failed.
        reasons: how many by the reason of the error.
        p50_ms: median of the calls' durations, from the beginning of their burst.
        p99_ms: the 99th percentile.
    """

    grpcio: str
    calls: int
    failed: int
    reasons: dict[str, int]
    p50_ms: float
    p99_ms: float


async def measure(bursts: int, calls: int, work: float) -> Bursts:
    """Start the node and send it the bursts, one after the other."""
    reasons: Counter[str] = Counter()
    seconds: list[float] = []
    with tempfile.TemporaryDirectory(prefix="onex-bench-") as folder:
        async with NodeProcess("bench.burst:Waiter", folder=Path(folder)) as node:
            for number in range(bursts):
                print(f"burst {number + 1} of {bursts}", file=sys.stderr)
                async with Mesh({"compute": node.address}) as mesh:
                    await _burst(mesh, calls, work, reasons, seconds)
    cuts = statistics.quantiles(seconds, n=100)
    return Bursts(
        grpcio=grpc.__version__,
        calls=bursts * calls,
        failed=reasons.total(),
        reasons=dict(reasons),
        p50_ms=round(cuts[49] * 1000, 1),
        p99_ms=round(cuts[98] * 1000, 1),
    )


async def _burst(
    mesh: Mesh, calls: int, work: float, reasons: Counter[str], seconds: list[float]
) -> None:
    stub = mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute")
    request = compute_pb2.ModelContractCompute(
        algorithm_config=compute_pb2.AlgorithmConfig(algorithm_type="wait"),
        input_data=data.pack(work),
    )
    began = time.perf_counter()

    async def call() -> None:
        try:
            await stub.ExecuteCompute(request, timeout=_TIMEOUT)
        except OnexError as error:
            reasons[error.reason] += 1
        seconds.append(time.perf_counter() - began)

    await asyncio.gather(*(call() for _ in range(calls)))


def main() -> None:
    """Prints a table, or JSON; exits with 1 where a call failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.burst", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--bursts", type=int, default=3)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--work", type=float, default=0.0)
    arguments = parser.parse_args()
    found = asyncio.run(measure(arguments.bursts, arguments.calls, arguments.work))
    if arguments.json:
        print(json.dumps(asdict(found)))
    else:
        table = Table("grpcio", "calls", "failed", "p50 ms", "p99 ms")
        table.add_row(
            found.grpcio, str(found.calls), str(found.failed), str(found.p50_ms), str(found.p99_ms)
        )
        Console().print(table)
        for reason, count in found.reasons.items():
            print(f"{reason}: {count}")
    sys.exit(found.failed > 0)


if __name__ == "__main__":
    main()
