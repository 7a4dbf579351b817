"""What a call costs with everything on, against bare grpc.aio of the same version.

Full: headers with lease, epoch, action and trace; lease admission (the token's signature verified
once); deadline; checks of the message; a span at both ends to a live OTLP collector, 1 % or 100 %
of them sampled; durations at both ends. Bare: generated code on grpc.aio. Typed: all that full has,
from a generated client to a generated node. Generic: the same node, asked for the same through the
generic service. Each client and server is a process with uvloop; the ratios are medians over
rounds in which all take turns.

    python -m bench.call [--json] [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Final, cast

import grpc
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONCURRENCY: Final = (1, 64)
_KINDS: Final = {
    "bare": "bare",
    "1pct": "full",
    "100pct": "full",
    "typed": "typed",
    "generic": "generic",
}
_VARIANTS: Final = tuple(_KINDS)
_SAMPLING: Final = {"1pct": "0.01", "100pct": "1.0"}
_SECONDS: Final = 0.6
Results = dict[tuple[str, int], list[float]]


class _Process:
    """One of the processes; its first line says that it is ready, and where."""

    def __init__(self, stack: ExitStack, *arguments: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "bench.call_roles", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        stack.callback(self._stop)
        self.first_line = self._read()

    def _read(self) -> str:
        line = cast("IO[str]", self._process.stdout).readline().strip()
        if not line:
            raise SystemExit("a process of the benchmark ended early; see its message above")
        return line

    def measure(self, calls: int, concurrency: int) -> float:
        """Seconds for so many calls."""
        print(calls, concurrency, file=self._process.stdin, flush=True)
        return float(self._read())

    def _stop(self) -> None:
        self._process.kill()
        self._process.communicate()


def _environment(variant: str, sink: str) -> Mapping[str, str]:
    if variant == "bare":
        return {}
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink}",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": _SAMPLING.get(variant, _SAMPLING["1pct"]),
        # Short, so that a round's spans are exported within it and paid for by it.
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    }


def measure(rounds: int) -> Results:
    """Microseconds per call by variant and concurrency, one figure a round."""
    results: Results = {(v, c): [] for v in _VARIANTS for c in _CONCURRENCY}
    with ExitStack() as stack:
        sink = _Process(stack, "sink", environment={}).first_line
        drivers: dict[str, _Process] = {}
        for variant in _VARIANTS:
            kind = _KINDS[variant]
            environment = _environment(variant, sink)
            port = _Process(stack, "serve", kind, environment=environment).first_line
            drivers[variant] = _Process(stack, "drive", kind, port, environment=environment)
        sizes = {c: _size(drivers["bare"], c) for c in _CONCURRENCY}
        order = list(_VARIANTS)
        for _ in range(rounds):
            for concurrency, calls in sizes.items():
                random.shuffle(order)
                for variant in order:
                    seconds = drivers[variant].measure(calls, concurrency)
                    results[variant, concurrency].append(seconds / calls * 1e6)
                    # What is left to export must not run into the next one's time.
                    time.sleep(0.15)
    return results


def _size(driver: _Process, concurrency: int) -> int:
    calls = 1024
    seconds = driver.measure(calls, concurrency)
    return max(64, round(calls / seconds * _SECONDS / 64) * 64)


def _ratio(results: Results, variant: str, concurrency: int, over: str = "bare") -> float:
    pairs = zip(results[variant, concurrency], results[over, concurrency], strict=True)
    return statistics.median(one / other for one, other in pairs)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="what a call costs")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=12, help="more rounds, less noise")
    options = parser.parse_args()
    results = measure(options.rounds)
    raw = {f"c{c}": round(statistics.median(results["bare", c]), 1) for c in _CONCURRENCY}
    ratio = {
        f"c{c}_{variant}": round(_ratio(results, variant, c), 3)
        for c in _CONCURRENCY
        for variant in _SAMPLING
    }
    typed = {f"c{c}": round(_ratio(results, "typed", c, over="generic"), 3) for c in _CONCURRENCY}
    if options.json:
        figures = {"ratio": ratio, "raw_us": raw, "typed_over_generic": typed}
        print(json.dumps({"grpcio": grpc.__version__, **figures}))
    else:
        _print_table(ratio, raw, typed)


def _print_table(
    ratio: Mapping[str, float], raw: Mapping[str, float], typed: Mapping[str, float]
) -> None:
    table = Table(title=f"a call with everything on / bare grpc.aio {grpc.__version__}")
    for column in ("concurrency", "bare, us", "1 % sampled", "100 % sampled", "typed / generic"):
        table.add_column(column, justify="right")
    for concurrency in _CONCURRENCY:
        name = f"c{concurrency}"
        figures = (ratio[f"{name}_1pct"], ratio[f"{name}_100pct"], typed[name])
        table.add_row(
            str(concurrency), f"{raw[name]:.0f}", *(f"{figure:.2f}x" for figure in figures)
        )
    Console().print(table)


if __name__ == "__main__":
    main()
