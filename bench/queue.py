"""Whether the queue stays as fast as it begins: a million intents through one SQLite store.

Reducers' commits emit them, workers claim and complete them, some thousands wait at any time, and
what is done is removed as retention would. Prints how fast each hundred thousand went, how large
the files are, and the memory of this process; fails where the last hundred thousand are slower than
0.8x of the first.

    python -m bench.queue [--json] [--intents N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import uvloop
from rich.console import Console
from rich.table import Table

from bench.retention import EVERY, sweep
from bench.store_load import STATE, STATE_TYPE, TTL_US, new_intents
from onex_grpc.store import Commit, FenceOnly, open_store

if TYPE_CHECKING:
    from onex_grpc.store import Store

_STRETCH: Final = 100_000
_SLICE: Final = 2_000
_DEPTH: Final = 5_000
_EMITTERS: Final = 8
_EMITTED_AT_ONCE: Final = 10
_WORKERS: Final = 8
_CLAIMED_AT_ONCE: Final = 10
_LEAST: Final = 0.8


@dataclass(frozen=True, slots=True)
class Stretch:
    """How fast so many intents were completed, and how large things were at its end."""

    completed: int
    per_s: float
    files_mb: float
    memory_mb: float


class Queue:
    """Emitters and workers around one store."""

    def __init__(self, store: Store, path: Path, intents: int) -> None:
        self._store = store
        self._path = path
        self._intents = intents
        self._emitted = 0
        self._completed = 0
        self._room = asyncio.Condition()
        self.stretches: list[Stretch] = []
        self._times: list[float] = []

    async def run(self) -> None:
        """Ends once all are completed."""
        self._times = [time.perf_counter()]
        async with asyncio.TaskGroup() as group:
            for number in range(_EMITTERS):
                group.create_task(self._emit(f"emitter-{number}"))
            for number in range(_WORKERS):
                group.create_task(self._work(f"effect/{number}"))

    async def _emit(self, key: str) -> None:
        while True:
            async with self._room:
                await self._room.wait_for(self._has_room)
                count = min(_EMITTED_AT_ONCE, self._intents - self._emitted)
                self._emitted += count
            if not count:
                return
            change = Commit(key, FenceOnly(), STATE, STATE_TYPE, intents=new_intents(count))
            await self._store.commit(change)

    async def _work(self, worker: str) -> None:
        while self._completed < self._intents:
            claimed = await self._store.claim_intents(worker, _CLAIMED_AT_ONCE, TTL_US)
            if not claimed:
                await self._store.wait_intents(0.05)
                continue
            if not all(await self._store.complete_intents([each.claim_token for each in claimed])):
                raise RuntimeError("a claim was lost")
            await self._count(len(claimed))

    async def _count(self, done: int) -> None:
        before, self._completed = self._completed, self._completed + done
        async with self._room:
            self._room.notify_all()
        if before // EVERY != self._completed // EVERY:
            await sweep(self._store)
        if before // _SLICE != self._completed // _SLICE:
            self._times.append(time.perf_counter())
        if before // _STRETCH != self._completed // _STRETCH:
            self._note()

    def _has_room(self) -> bool:
        waiting = self._emitted - self._completed
        return waiting < _DEPTH or self._emitted == self._intents

    def _note(self) -> None:
        # The median of short slices, since others who use the disk can stop this for seconds.
        slices = [end - start for start, end in pairwise(self._times)]
        self._times = self._times[-1:]
        size = sum(each.stat().st_size for each in self._path.parent.iterdir())
        stretch = Stretch(
            completed=self._completed,
            per_s=round(_SLICE / median(slices), 1),
            files_mb=round(size / 1e6, 1),
            memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        )
        self.stretches.append(stretch)
        print(
            f"{stretch.completed} of {self._intents}: {stretch.per_s} per s, "
            f"{stretch.files_mb} MB of files, {stretch.memory_mb} MB of memory",
            file=sys.stderr,
        )


async def measure(intents: int) -> list[Stretch]:
    """Runs all through a store of its own."""
    with tempfile.TemporaryDirectory(prefix="onex-bench-") as folder:
        path = Path(folder) / "queue.db"
        store = await open_store(path)
        try:
            queue = Queue(store, path, intents)
            await queue.run()
            stats = await store.queue_stats()
            if stats.pending or stats.in_flight or stats.dead:
                raise RuntimeError(f"not all were completed: {stats}")
        finally:
            await store.close()
    return queue.stretches


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="whether the queue stays as fast as it begins")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--intents", type=int, default=1_000_000, help="how many, at least 200000")
    options = parser.parse_args()
    if options.intents < 2 * _STRETCH:
        parser.error(f"--intents must be at least {2 * _STRETCH}")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stretches = runner.run(measure(options.intents))
    ratio = stretches[-1].per_s / stretches[0].per_s
    if options.json:
        report = {"ratio": round(ratio, 2), "stretches": [asdict(each) for each in stretches]}
        print(json.dumps(report))
    else:
        _print_table(stretches)
        print(f"the last {_STRETCH} at {ratio:.2f}x of the first")
    sys.exit(ratio < _LEAST)


def _print_table(stretches: list[Stretch]) -> None:
    table = Table(title="intents through one SQLite store: emitted, claimed, completed, removed")
    for column in ("completed", "per s", "files MB", "memory MB"):
        table.add_column(column, justify="right")
    for each in stretches:
        table.add_row(*(str(value) for value in asdict(each).values()))
    Console().print(table)


if __name__ == "__main__":
    main()
