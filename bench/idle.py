"""What the sample mesh does while nobody calls it: on SQLite, and on PostgreSQL.

Starts the four servers, lets them settle, and watches each process's share of a core and how often
it wakes up, and whether a store is written to. Fails where a process takes 1 % of a core or a store
changes.

    python -m bench.idle [--json] [--seconds N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
import psycopg
from rich.console import Console
from rich.table import Table

from servers.mesh import running_mesh
from servers.supervisor import KINDS, MeshLayout, free_ports
from tests.store.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

_DATA: Final = Path(__file__).parent.parent / "servers" / "data"
# What an idle connection has done, PostgreSQL counts after ten seconds.
_SETTLE_SECONDS: Final = 12.0
_MOST_CPU_PERCENT: Final = 1.0
_ROWS_AND_READS: Final = (
    "SELECT tup_inserted + tup_updated + tup_deleted, xact_commit + xact_rollback "
    "FROM pg_stat_database WHERE datname = current_database()"
)


@dataclass(frozen=True, slots=True)
class Idle:
    """What one process did: percent of a core, and wake-ups a second."""

    cpu_percent: float
    wakeups_per_s: float


@dataclass(frozen=True, slots=True)
class Quiet:
    """What a mesh did: its processes by kind, writes to its stores, transactions a second."""

    processes: dict[str, Idle]
    writes: int
    transactions_per_s: float

    def is_quiet(self) -> bool:
        """Whether it keeps what is promised."""
        busiest = max(each.cpu_percent for each in self.processes.values())
        return self.writes == 0 and busiest < _MOST_CPU_PERCENT


@dataclass(frozen=True, slots=True)
class _Work:
    seconds: float
    wakeups: int

    @classmethod
    def of(cls, process: psutil.Process) -> _Work:
        times = process.cpu_times()
        return cls(times.user + times.system, _wakeups(process.pid))


def _wakeups(pid: int) -> int:
    """How often the process's threads have gone to sleep; 0 where the kernel does not say."""
    found = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                found += int(line.partition(":")[2])
    return found


async def _watch(folder: Path, seconds: float, server: PostgresServer | None) -> Quiet:
    layout = MeshLayout(folder, _DATA, free_ports(len(KINDS)))
    async with running_mesh(layout, lambda _: None):
        processes = {kind: _process(kind) for kind in KINDS}
        await asyncio.sleep(_SETTLE_SECONDS)
        before = {kind: _Work.of(process) for kind, process in processes.items()}
        files, tables = _files(folder), _tables(server)
        await asyncio.sleep(seconds)
        after = {kind: _Work.of(process) for kind, process in processes.items()}
        changed = _files(folder).symmetric_difference(files)
        rows, transactions = (b - a for a, b in zip(tables, _tables(server), strict=True))
    idle = {kind: _difference(before[kind], after[kind], seconds) for kind in KINDS}
    return Quiet(idle, len(changed) + rows, round(transactions / seconds, 2))


def _difference(before: _Work, after: _Work, seconds: float) -> Idle:
    return Idle(
        cpu_percent=round((after.seconds - before.seconds) / seconds * 100, 2),
        wakeups_per_s=round((after.wakeups - before.wakeups) / seconds, 1),
    )


def _process(kind: str) -> psutil.Process:
    for child in psutil.Process().children():
        if f"servers.{kind}" in child.cmdline():
            return child
    raise RuntimeError(f"{kind} does not run")


def _files(folder: Path) -> set[tuple[str, int, int]]:
    """The files of stores and of targets, with their sizes and times."""
    stats = {path: path.stat() for path in folder.rglob("*") if ".db" in path.name}
    return {(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


def _tables(server: PostgresServer | None) -> tuple[int, int]:
    """How many rows were written, and how many transactions there were."""
    if server is None:
        return 0, 0
    connection: psycopg.Connection[tuple[Any, ...]]
    with psycopg.connect(server.address) as connection:
        row = connection.execute(_ROWS_AND_READS).fetchone() or (0, 0)
        return int(row[0]), int(row[1])


@contextmanager
def _stored_in(address: str) -> Iterator[None]:
    os.environ["ONEX_STORE"] = address
    try:
        yield
    finally:
        del os.environ["ONEX_STORE"]


async def measure(seconds: float) -> dict[str, Quiet]:
    """What the mesh did on each back end."""
    found: dict[str, Quiet] = {}
    with tempfile.TemporaryDirectory(prefix="onex-bench-") as folder:
        print(f"sqlite: {seconds:.0f} s", file=sys.stderr)
        found["sqlite"] = await _watch(Path(folder) / "sqlite", seconds, None)
        server = PostgresServer()
        try:
            print(f"postgresql: {seconds:.0f} s", file=sys.stderr)
            with _stored_in(server.address):
                watched = await _watch(Path(folder) / "postgresql", seconds, server)
            found["postgresql"] = watched
        finally:
            server.stop()
    return found


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="what the sample mesh does while nobody calls it")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seconds", type=float, default=20, help="how long to watch")
    options = parser.parse_args()
    found = asyncio.run(measure(options.seconds))
    if options.json:
        print(json.dumps({backend: asdict(each) for backend, each in found.items()}))
    else:
        _print_table(found)
    sys.exit(not all(each.is_quiet() for each in found.values()))


def _print_table(found: dict[str, Quiet]) -> None:
    table = Table(title="the sample mesh at rest")
    for column in ("where", "process", "% of a core", "wake-ups per s"):
        table.add_column(column, justify="right")
    for backend, quiet in found.items():
        for kind, idle in quiet.processes.items():
            table.add_row(backend, kind, f"{idle.cpu_percent:.2f}", f"{idle.wakeups_per_s:.1f}")
    Console().print(table)
    for backend, quiet in found.items():
        print(
            f"{backend}: {quiet.writes} writes, {quiet.transactions_per_s} transactions per s "
            "(this look included)"
        )


if __name__ == "__main__":
    main()
