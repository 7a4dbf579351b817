"""What looks after a store: after writes only, and without end only where it was told so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from onex_grpc.errors import UnavailableError
from onex_grpc.serve.config import load_settings
from onex_grpc.serve.housekeeping import Housekeeper
from onex_grpc.serve.settings import RetentionSettings
from onex_grpc.store import IdempotencyRecord, Purged, PurgePosition, Retention, open_store
from onex_grpc.store.retention import FOREVER_US

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

OUTCOME = IdempotencyRecord(b"hash", b"reply")


class Watched:
    """A store that notes its sweeps; each takes two portions."""

    def __init__(self) -> None:
        self.positions: list[PurgePosition] = []
        self.swept = asyncio.Event()
        self.fails = False

    async def purge(self, retention: Retention, position: PurgePosition, limit: int) -> Purged:
        self.positions.append(position)
        if self.fails:
            self.swept.set()
            raise UnavailableError("the disk is full")
        done = len(self.positions) % 2 == 0
        if done:
            self.swept.set()
        return Purged(1, PurgePosition(history=len(self.positions)), done)

    async def sweep(self) -> None:
        async with asyncio.timeout(10):
            await self.swept.wait()
        self.swept.clear()
        # The keeper is told the end of it after this task.
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
async def keeper(watched: Watched) -> AsyncIterator[Housekeeper]:
    made = Housekeeper(Retention(), interval=0.01)
    made.start(watched)
    yield made
    await made.stop()


async def test_it_sweeps_at_start_and_after_writes_only(
    keeper: Housekeeper, watched: Watched
) -> None:
    await watched.sweep()
    assert watched.positions == [PurgePosition(), PurgePosition(history=1)]
    for _ in range(3):
        keeper.on_batch(1, 0.0)
    await watched.sweep()
    # It goes on where the last sweep has ended.
    assert watched.positions[2:] == [PurgePosition(history=2), PurgePosition(history=3)]


async def test_a_failure_is_no_end(keeper: Housekeeper, watched: Watched) -> None:
    watched.fails = True
    await watched.sweep()
    watched.fails = False
    watched.positions.clear()
    keeper.on_batch(1, 0.0)
    await watched.sweep()
    assert len(watched.positions) == 2


async def test_what_is_over_is_removed_from_a_store(tmp_path: Path) -> None:
    keeper = Housekeeper(RetentionSettings(outcomes=0.001).rules(), interval=0.01)
    store = await open_store(tmp_path / "s.db", on_batch=keeper.on_batch)
    keeper.start(store)
    await store.record_outcome("a", OUTCOME)
    async with asyncio.timeout(10):
        while await store.find_outcome("a") is not None:
            await store.get_or_create_secret("tick", b"")
    await keeper.stop()
    await store.close()


def test_zero_is_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "onex.toml"
    file.write_text("[retention]\nevents = 0\nintents = 60\nversions = 5")
    rules = load_settings(file, environment={}).retention.rules()
    assert (rules.events_us, rules.intents_us, rules.versions) == (FOREVER_US, 60_000_000, 5)
    assert rules.actions_us == Retention().actions_us
