"""A queue over a real store, reached in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onex_grpc.store.opening import open_store
from tests.unit.intent.bench import QueueBench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[QueueBench]:
    """A queue with a short visibility timeout, and what puts intents into it."""
    store = await open_store(tmp_path / "reducer.db")
    bench = QueueBench(store)
    try:
        yield bench
    finally:
        await bench.close()
        await store.close()
