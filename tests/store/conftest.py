"""Every test of the Protocol runs on each back end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from onex_grpc.store import Clock, OnBatch, Store, open_store
from tests.store.builders import BACKENDS, ManualClock

if TYPE_CHECKING:
    from pathlib import Path


class Backend:
    """Opens the same store as often as a test wants."""

    def __init__(self, address: str, clock: Clock) -> None:
        self.address = address
        self._clock = clock

    async def open(self, *, on_batch: OnBatch | None = None) -> Store:
        """Opens it by the test's clock."""
        return await open_store(self.address, clock=self._clock, on_batch=on_batch)


Reopen = Callable[[Store], Awaitable[Store]]


@pytest.fixture
def clock() -> ManualClock:
    """The clock that the store goes by."""
    return ManualClock()


@pytest.fixture(params=BACKENDS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store of each kind."""
    if request.param == "memory":
        return "memory:"
    return f"sqlite:///{tmp_path / 'state' / 'test.db'}"


@pytest.fixture
def backend(address: str, clock: ManualClock) -> Backend:
    """An empty store of each kind, by the test's clock."""
    return Backend(address, clock)


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    """An open store of each kind."""
    opened = await backend.open()
    yield opened
    await opened.close()
