"""Rounds: a writer is killed at a random moment, and what it left behind is judged."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onex_grpc.store import LeaseRequest, Store, new_id, open_store, wall_clock_us, workflow_key
from tests.torture.acknowledged import read_book
from tests.torture.contents import COMPLETED, DEAD, read_contents
from tests.torture.ledger import Ledger
from tests.torture.stores import PostgresSchema, Target
from tests.torture.whole import halves
from tests.torture.writer import HOLDER, Orders, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

    from tests.torture.contents import Contents

# A store grows with each round and is read whole after each, so it is left after so many.
ROUNDS_PER_STORE: Final = 20
_SERVER_EVERY: Final = 10
_WRITING_SECONDS: Final = 0.3
_PROBE: Final = "w0"


@dataclass(slots=True)
class KillFigures:
    """What was done and found."""

    store: str
    rounds: int = 0
    server_stops: int = 0
    acknowledged: int = 0
    stored: int = 0
    """Commits and events."""
    stored_beyond_acknowledged: int = 0
    lost: int = 0
    halves: int = 0
    seconds: float = 0.0


class KillTorture:
    """Rounds on stores of one kind.

    Args:
        kind: sqlite or postgresql.
        make: gives the n-th store, empty.
        folder: for the writer's notes.
    """

    def __init__(self, kind: str, make: Callable[[int], Target], folder: Path, seed: int) -> None:
        self.figures = KillFigures(kind)
        self._make = make
        self._folder = folder
        self._chance = random.Random(seed)  # noqa: S311 - moments of death, not secrets
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["tests.torture.writer"])

    async def run(
        self, rounds: int, say: Callable[[str], None], limit_seconds: float = float("inf")
    ) -> list[str]:
        """Goes on until the first finding; returns what is wrong then, nothing if nothing is."""
        started = time.monotonic()
        figures = self.figures
        target, ledger = self._make(0), Ledger()
        for number in range(rounds):
            if number and number % ROUNDS_PER_STORE == 0:
                target, ledger = self._make(number // ROUNDS_PER_STORE), Ledger()
            wrong = await self._round(number, target, ledger)
            figures.rounds += 1
            figures.seconds = round(time.monotonic() - started, 1)
            if wrong or figures.seconds > limit_seconds:
                return wrong
            if figures.rounds % 10 == 0:
                say(
                    f"{figures.store}: {figures.rounds}/{rounds} rounds, "
                    f"{figures.acknowledged} acknowledged, {figures.seconds} s"
                )
        return []

    async def _round(self, number: int, target: Target, ledger: Ledger) -> list[str]:
        book = self._folder / f"book-{number}"
        before = ledger.total
        await self._write_and_kill(number, target, book)
        ledger.add(read_book(book))
        store = await open_store(target.address, owner=target.owner)
        try:
            found = read_contents(target)
            lost = [*ledger.wrong, *ledger.lost(found)]
            broken = [*halves(found), *await _other_signs(store, target, ledger, found)]
        finally:
            await store.close()
        self._count(ledger, before, found, lost, broken)
        if not lost and not broken:
            book.unlink(missing_ok=True)
        return [*(f"lost: {one}" for one in lost), *(f"half: {one}" for one in broken)]

    async def _write_and_kill(self, number: int, target: Target, book: Path) -> None:
        orders = Orders(
            target.address, target.owner, str(book), number, self._chance.getrandbits(32)
        )
        writer: ForkServerProcess = self._processes.Process(target=run, args=(orders,))
        writer.start()
        # From the opening of the store on, and most often in the midst of writing.
        await asyncio.sleep(self._chance.uniform(0, 0.05))
        if self._chance.random() < 0.85:
            await _until_writing(book, writer)
            await asyncio.sleep(self._chance.uniform(0, _WRITING_SECONDS))
        stop_server = isinstance(target, PostgresSchema) and number % _SERVER_EVERY == 5
        if stop_server and isinstance(target, PostgresSchema):
            target.server.halt()
            self.figures.server_stops += 1
        writer.kill()
        await asyncio.to_thread(writer.join)
        writer.close()
        if stop_server and isinstance(target, PostgresSchema):
            target.server.start()

    def _count(
        self, ledger: Ledger, before: int, found: Contents, lost: list[str], broken: list[str]
    ) -> None:
        figures = self.figures
        figures.acknowledged += ledger.total - before
        figures.lost += len(lost)
        figures.halves += len(broken)
        stored, unacknowledged = ledger.compare(found)
        figures.stored += stored
        figures.stored_beyond_acknowledged += unacknowledged


def _has_notes(book: Path) -> bool:
    return book.exists() and book.stat().st_size > 0


async def _until_writing(book: Path, writer: ForkServerProcess) -> None:
    for _ in range(500):
        if _has_notes(book) or not writer.is_alive():
            return
        await asyncio.sleep(0.005)


async def _other_signs(store: Store, target: Target, ledger: Ledger, found: Contents) -> list[str]:
    """Figures of the queue, the next fence, and the file itself."""
    signs = [damage] if (damage := target.damage()) else []
    signs.extend(await _queue(store, found))
    highest = max((fence for fence, _ in found.fences.values()), default=0)
    request = LeaseRequest(_PROBE, HOLDER, 1, new_id(wall_clock_us()), take_over_own=True)
    grant = await store.acquire_lease(request)
    if grant.fence <= highest:
        signs.append(f"fence {grant.fence} was granted after {highest}")
    if grant.epoch != found.states.get(workflow_key(_PROBE), 0):
        signs.append(f"epoch {grant.epoch} was granted with the lease")
    ledger.fences[_PROBE] = grant.fence
    return signs


async def _queue(store: Store, found: Contents) -> list[str]:
    stats = await store.queue_stats()
    states = [state for state, _ in found.intents.values()]
    counted = (stats.completed, stats.dead, stats.pending + stats.in_flight)
    rows = (states.count(COMPLETED), states.count(DEAD), sum(one < COMPLETED for one in states))
    if counted == rows:
        return []
    return [f"completed, dead and waiting intents are {rows}, the queue counts {counted}"]
