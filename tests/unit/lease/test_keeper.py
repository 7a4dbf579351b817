"""The holder's renewals, over a real store with short leases."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from onex_grpc.errors import LeaseExpiredError, StoreError
from onex_grpc.lease.clock import holder_clock
from onex_grpc.lease.keeper import HeldLease, LeaseKeeper
from onex_grpc.store.model import LeaseRequest
from onex_grpc.store.opening import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from onex_grpc.store.model import Guard, LeaseGrant
    from onex_grpc.store.protocol import Store

_TTL = 0.3


class Watched:
    """A store that counts renewals, and may be told to fail."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.batches: list[int] = []
        self.failing = False
        self.renewed = asyncio.Event()

    async def renew_leases(self, guards: Sequence[Guard]) -> Sequence[LeaseGrant | None]:
        self.batches.append(len(guards))
        if self.failing:
            raise StoreError("disk full")
        grants = await self.store.renew_leases(guards)
        self.renewed.set()
        return grants


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    store = await open_store(tmp_path / "store.db")
    yield Watched(store)
    await store.close()


@pytest.fixture
async def keeper(watched: Watched) -> AsyncIterator[LeaseKeeper]:
    made = LeaseKeeper(watched, lambda grant: f"token {time.monotonic_ns()}")  # type: ignore[arg-type]
    yield made
    await made.close()


async def hold(
    keeper: LeaseKeeper, store: Store, name: str, ttl: float = _TTL
) -> tuple[HeldLease, asyncio.Event]:
    sent_at = holder_clock()
    request = LeaseRequest(name, "orchestrator/main", round(ttl * 1e6), str(uuid.uuid4()))
    grant = await store.acquire_lease(request)
    lost = asyncio.Event()
    return keeper.hold(grant, sent_at, lambda error: lost.set()), lost


async def test_leases_are_renewed_in_batches(watched: Watched, keeper: LeaseKeeper) -> None:
    # Long enough for a stall of the disk, and yet renewed beyond its first end.
    ttl = 1.5
    began = holder_clock()
    held = [await hold(keeper, watched.store, f"w{n}", ttl) for n in range(20)]
    token = held[0][0].claim.token
    while holder_clock() < began + 1.2 * ttl:
        watched.renewed.clear()
        await asyncio.wait_for(watched.renewed.wait(), 2)
    assert not any(lost.is_set() for _, lost in held)
    for lease, _ in held:
        lease.check()
    assert held[0][0].claim.token != token
    assert max(watched.batches) == 20
    assert len(watched.batches) < 40


async def test_a_dropped_lease_is_not_renewed(watched: Watched, keeper: LeaseKeeper) -> None:
    dropped, _ = await hold(keeper, watched.store, "dropped")
    await hold(keeper, watched.store, "kept")
    keeper.drop(dropped)
    await asyncio.wait_for(watched.renewed.wait(), 2)
    assert set(watched.batches) == {1}


async def test_a_lease_that_another_one_took_is_lost(watched: Watched, keeper: LeaseKeeper) -> None:
    held, lost = await hold(keeper, watched.store, "w")
    await watched.store.acquire_lease(
        LeaseRequest("w", "orchestrator/main", 10_000_000, str(uuid.uuid4()), take_over_own=True)
    )
    await asyncio.wait_for(lost.wait(), 2)
    with pytest.raises(LeaseExpiredError):
        held.check()


async def test_work_stops_before_a_lease_that_cannot_be_renewed_runs_out(
    watched: Watched, keeper: LeaseKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    watched.failing = True
    began = holder_clock()
    held, lost = await hold(keeper, watched.store, "w")
    await asyncio.wait_for(lost.wait(), 2)
    assert holder_clock() - began < _TTL
    with pytest.raises(LeaseExpiredError):
        held.check()
    assert "disk full" in caplog.text
    assert len(watched.batches) > 1
