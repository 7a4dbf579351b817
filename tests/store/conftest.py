"""Every test of the Protocol runs on each back end."""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import psycopg
import pytest

from onex_grpc.store import Clock, OnBatch, Store, open_store
from onex_grpc.store.postgres import open_postgres
from tests.store.builders import BACKENDS, ManualClock
from tests.store.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.store.rivals import Rival

_numbers = itertools.count(1)


class Backend:
    """Opens the same store as often as a test wants."""

    def __init__(self, address: str, clock: Clock | None, owner: str) -> None:
        self.address = address
        self.owner = owner
        self._clock = clock

    async def open(self, *, on_batch: OnBatch | None = None) -> Store:
        """Opens it by the test's clock."""
        return await open_store(
            self.address, owner=self.owner, clock=self._clock, on_batch=on_batch
        )


@pytest.fixture
def clock() -> ManualClock:
    """The clock that the store goes by."""
    return ManualClock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests; each has a schema of its own in it."""
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server that a test may break."""
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture
def owner() -> str:
    """A node's name that no other test has."""
    return f"reducer/test-{next(_numbers)}"


@pytest.fixture(params=BACKENDS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store of each kind."""
    if request.param == "memory":
        return "memory:"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state' / 'test.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.address


@pytest.fixture
def backend(address: str, clock: ManualClock, owner: str) -> Backend:
    """An empty store of each kind, by the test's clock."""
    return Backend(address, clock, owner)


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    """An open store of each kind."""
    opened = await backend.open()
    yield opened
    await opened.close()


@pytest.fixture
async def pair(postgres: PostgresServer, owner: str) -> AsyncIterator[tuple[Store, Store]]:
    """The same store in PostgreSQL, as two processes open it that do not own it alone."""
    async with AsyncExitStack() as opened:
        stores = []
        for _ in range(2):
            store = await open_postgres(postgres.address, schema=owner)
            opened.push_async_callback(store.close)
            stores.append(store)
        yield stores[0], stores[1]


@pytest.fixture
def rival(postgres: PostgresServer, owner: str) -> Iterator[Rival]:
    """Another program's transaction on the tables of `pair`."""
    with psycopg.connect(postgres.address) as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", (f'"{owner}"',))
        connection.commit()
        yield connection
