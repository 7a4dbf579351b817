"""Short runs of `python -m tests.identity`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.identity.command import tortured
from tests.store.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the nodes keep their state."""
    if request.param == "sqlite":
        yield ""
        return
    server = PostgresServer()
    yield server.address
    server.stop()


@pytest.mark.timeout(240)
async def test_a_mesh_that_dies_does_nothing_twice(address: str, tmp_path: Path) -> None:
    said: list[str] = []
    figures = await tortured(tmp_path, address, 2, seed=5, say=said.append)
    assert figures.totals_exact, said
    assert (figures.runs, figures.workflows) == (2, 20)
    assert figures.kills >= 2
