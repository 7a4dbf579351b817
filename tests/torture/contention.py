"""Waves of workflows for whose leases client processes contend while they are stopped at random."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from onex_grpc.store.postgres import open_postgres
from onex_grpc.store.postgres.connection import schema_of
from tests.torture.client import Role, Wave
from tests.torture.judge import LeaseFigures, Violation, by_workflow, judge
from tests.torture.processes import Worker
from tests.torture.recorder import Log
from tests.torture.stores import PostgresSchema, SqliteFile, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.torture.recorder import Record

# What a client has begun when its time is up, it ends; a store that is stuck gives up after 60 s.
_OVERTIME: Final = 90.0
_TOLERANCE_US: Final = 5_000
_STALE_WRITES: Final = (
    "SELECT count(*) FROM history later JOIN history earlier ON earlier.state_id = later.state_id "
    "AND earlier.version = later.version - 1 WHERE later.fence < earlier.fence"
)


@dataclass(frozen=True, slots=True)
class LeasePlan:
    """How much of it.

    Attributes:
        histories: how many workflows in all.
        together: how many at one time: a stop of a process covers so many.
        wave_seconds: how long each is contended for.
        clients: how many processes contend.
        ttl: of the leases, in seconds.
        seed: of the chances.
        limit_seconds: no wave begins after this.
        server_stop_share: how often the PostgreSQL server is stopped at once and started again,
            instead of clients being paused.
        bug: one that the stores shall have, of seeded.BUGS; none where it is empty.
    """

    histories: int
    together: int = 250
    wave_seconds: float = 3.0
    clients: int = 3
    ttl: float = 0.3
    seed: int = 1
    limit_seconds: float = 600.0
    server_stop_share: float = 0.1
    bug: str = ""


class LeaseTorture:
    """One run against one store."""

    def __init__(self, target: Target, plan: LeasePlan, folder: Path) -> None:
        """Takes a folder for the clients' logs."""
        name = "sqlite" if isinstance(target, SqliteFile) else "postgresql"
        self.figures = LeaseFigures(name)
        self._target = target
        self._plan = plan
        self._folder = folder
        self._chance = random.Random(plan.seed)  # noqa: S311 - chances, not secrets
        self._clients: list[Worker] = []
        self._server: Worker | None = None

    async def run(self, say: Callable[[str], None]) -> Violation | None:
        """Contends until all histories are done, time is up or one of them is wrong."""
        started = time.monotonic()
        plan, figures = self._plan, self.figures
        async with AsyncExitStack() as stack:
            await self._start(stack)
            violation = None
            number = 0
            while violation is None and figures.histories < plan.histories:
                if time.monotonic() - started > plan.limit_seconds:
                    say(f"{figures.store}: time is up")
                    break
                size = min(plan.together, plan.histories - figures.histories)
                violation = self._judge(*await self._wave(number, size))
                number += 1
                figures.seconds = round(time.monotonic() - started, 1)
                say(f"{figures.store}: {figures.histories}/{plan.histories} {figures.seconds} s")
        figures.stale_writes_stored = self._target.rows(_STALE_WRITES)[0][0][0]
        figures.seconds = round(time.monotonic() - started, 1)
        return violation

    async def _start(self, stack: AsyncExitStack) -> None:
        address, schema = self._target.address, ""
        if isinstance(self._target, SqliteFile):
            module = "tests.torture.server"
            self._server = await Worker.start("server", module, address, self._plan.bug)
            stack.push_async_callback(self._server.end)
            address = f"127.0.0.1:{await self._server.hear(_OVERTIME)}"
        else:
            schema = schema_of(self._target.owner)
            await (await open_postgres(address, schema=schema)).close()
        for number in range(self._plan.clients):
            role = Role(f"client/{number}", address, schema, self._plan.bug)
            argument = msgspec.json.encode(role).decode()
            client = await Worker.start(role.name, "tests.torture.client", argument)
            stack.push_async_callback(client.end)
            self._clients.append(client)
        for client in self._clients:
            await client.hear(_OVERTIME)

    async def _wave(self, number: int, size: int) -> tuple[dict[str, list[Record]], int]:
        """One wave; its histories, and by how many microseconds the clocks drifted apart."""
        plan = self._plan
        names = [f"w{number}-{index}" for index in range(size)]
        until = time.monotonic_ns() + int(plan.wave_seconds * 1e9)
        outs = [self._folder / f"wave-{number}-{index}" for index in range(plan.clients)]
        before = _clock_difference_ns()
        for client, out in zip(self._clients, outs, strict=True):
            seed = self._chance.getrandbits(32)
            wave = Wave(number, names, until, int(plan.ttl * 1e6), seed, str(out))
            await client.tell(msgspec.json.encode(wave))
        pausing = asyncio.create_task(self._pause_some(until, size))
        for client in self._clients:
            await client.hear(plan.wave_seconds + _OVERTIME)
        await pausing
        drift_us = abs(_clock_difference_ns() - before) // 1000
        logs = [msgspec.msgpack.decode(out.read_bytes(), type=Log) for out in outs]
        for log, out in zip(logs, outs, strict=True):
            self.figures.count_errors(log.errors)
            out.unlink()
        return by_workflow(logs), drift_us

    async def _pause_some(self, until_ns: int, size: int) -> None:
        """Stops a client (at times the server, or two of them) for longer than a lease lasts."""
        chance, ttl = self._chance, self._plan.ttl
        await asyncio.sleep(self._plan.wave_seconds / 6)
        self.figures.histories_paused += size
        while time.monotonic_ns() < until_ns:
            if isinstance(self._target, PostgresSchema) and (
                chance.random() < self._plan.server_stop_share
            ):
                self._target.server.halt()
                self._target.server.start()
                self.figures.server_stops += 1
            paused = chance.sample(self._clients, 2 if chance.random() < 0.15 else 1)
            if self._server is not None and chance.random() < 0.1:
                paused = [self._server]
            for worker in paused:
                worker.pause()
            try:
                await asyncio.sleep(chance.uniform(1.1, 2.2) * ttl)
            finally:
                for worker in paused:
                    worker.resume()
            self.figures.pauses += 1
            await asyncio.sleep(chance.uniform(0.5, 1.5) * ttl)

    def _judge(self, histories: dict[str, list[Record]], drift_us: int) -> Violation | None:
        found: list[Violation] = []
        for history in histories.values():
            self.figures.count(history)
            tolerance_us = _TOLERANCE_US + drift_us
            violation = judge(history, int(self._plan.ttl * 1e6), tolerance_us)
            if violation is not None:
                found.append(violation)
        self.figures.violations += len(found)
        return found[0] if found else None


def keep(violation: Violation, folder: Path) -> Path:
    """Writes a wrong history down, in the order of its calls."""
    path = folder / f"{violation.workflow}.json"
    calls: Sequence[Record] = sorted(violation.history, key=lambda record: record.invoked)
    lines = [msgspec.json.encode(call).decode() for call in calls]
    path.write_text("\n".join([violation.why, *lines, ""]))
    return path


def _clock_difference_ns() -> int:
    return time.time_ns() - time.monotonic_ns()
