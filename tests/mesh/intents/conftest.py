"""Queues over each kind of store, over a socket and in this process."""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from onex_grpc.store import open_store
from tests.mesh.intents.served_queue import LocalQueue, ServedQueue
from tests.store.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from onex_grpc.store.protocol import Store

    Queue = ServedQueue | LocalQueue
    Serve = Callable[..., Awaitable[Queue]]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; each store has a schema of its own in it."""
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A reducer's store of each kind."""
    if request.param == "sqlite":
        address = str(tmp_path / "reducer.db")
    else:
        address = request.getfixturevalue("postgres").address
    opened = await open_store(address, owner=f"reducer/streams-{next(_numbers)}")
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Store]:
    """A reducer's store in a file."""
    opened = await open_store(tmp_path / "reducer.db")
    yield opened
    await opened.close()


@pytest.fixture(params=[ServedQueue, LocalQueue], ids=["socket", "local"])
async def serve(request: pytest.FixtureRequest) -> AsyncIterator[Serve]:
    """Serves a queue over a store by each transport, until the test ends."""
    async with AsyncExitStack() as stack:

        async def served(store: Store, visibility: float = 30.0) -> Queue:
            queue: Queue = request.param(store, visibility)
            await queue.start()
            stack.push_async_callback(queue.close)
            return queue

        yield served
