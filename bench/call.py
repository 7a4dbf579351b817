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
import random
import statistics
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import grpc
from rich.console import Console
from rich.table import Table

from bench.children import Child

if TYPE_CHECKING:
    from collections.abc import Mapping

ROLES: Final = "bench.call_roles"
CONCURRENCY: Final = (1, 64)
_KINDS: Final = {
    "bare": "bare",
    "1pct": "full",
    "100pct": "full",
    "typed": "typed",
    "generic": "generic",
}
_VARIANTS: Final = tuple(_KINDS)
SAMPLING: Final = {"1pct": "0.01", "100pct": "1.0"}
_SECONDS: Final = 0.6
Results = dict[tuple[str, int], list[float]]


def sampled(variant: str, sink: str) -> Mapping[str, str]:
    """Return the variables by which a variant's spans go to a collector's port."""
    if variant == "bare":
        return {}
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink}",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": SAMPLING.get(variant, SAMPLING["1pct"]),
        # Short, so that a round's spans are exported within it and paid for by it.
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    }


def measure(rounds: int) -> Results:
    """Microseconds per call by variant and concurrency, one figure a round."""
    results: Results = {(v, c): [] for v in _VARIANTS for c in CONCURRENCY}
    with ExitStack() as stack:
        sink = Child(stack, [ROLES, "sink"]).first_line
        drivers: dict[str, Child] = {}
        for variant in _VARIANTS:
            kind = _KINDS[variant]
            environment = sampled(variant, sink)
            port = Child(stack, [ROLES, "serve", kind], environment=environment).first_line
            drive = [ROLES, "drive", kind, port]
            drivers[variant] = Child(stack, drive, environment=environment)
        sizes = {c: _size(drivers["bare"], c) for c in CONCURRENCY}
        order = list(_VARIANTS)
        for _ in range(rounds):
            for concurrency, calls in sizes.items():
                random.shuffle(order)
                for variant in order:
                    seconds = float(drivers[variant].ask(calls, concurrency))
                    results[variant, concurrency].append(seconds / calls * 1e6)
                    # What is left to export must not run into the next one's time.
                    time.sleep(0.15)
    return results


def _size(driver: Child, concurrency: int) -> int:
    calls = 1024
    seconds = float(driver.ask(calls, concurrency))
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
    raw = {f"c{c}": round(statistics.median(results["bare", c]), 1) for c in CONCURRENCY}
    ratio = {
        f"c{c}_{variant}": round(_ratio(results, variant, c), 3)
        for c in CONCURRENCY
        for variant in SAMPLING
    }
    typed = {f"c{c}": round(_ratio(results, "typed", c, over="generic"), 3) for c in CONCURRENCY}
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
    for concurrency in CONCURRENCY:
        name = f"c{concurrency}"
        figures = (ratio[f"{name}_1pct"], ratio[f"{name}_100pct"], typed[name])
        table.add_row(
            str(concurrency), f"{raw[name]:.0f}", *(f"{figure:.2f}x" for figure in figures)
        )
    Console().print(table)


if __name__ == "__main__":
    main()
