"""Short runs of the torture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.torture.contention import LeasePlan, LeaseTorture, keep
from tests.torture.killing import KillTorture
from tests.torture.stores import PostgresSchema, SqliteFile, Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.store.server import PostgresServer

SHORT = LeasePlan(histories=100, together=100, wave_seconds=1.2, clients=2, server_stop_share=0)


def quiet(line: str) -> None:
    pass


async def kill(kind: str, make: Callable[[int], Target], folder: Path, rounds: int) -> KillTorture:
    torture = KillTorture(kind, make, folder, seed=5)
    assert await torture.run(rounds, quiet) == []
    figures = torture.figures
    assert (figures.rounds, figures.lost, figures.halves) == (rounds, 0, 0)
    assert figures.acknowledged > 0
    return torture


async def contend(target: Target, plan: LeasePlan, folder: Path) -> LeaseTorture:
    torture = LeaseTorture(target, plan, folder)
    violation = await torture.run(quiet)
    assert violation is None, keep(violation, folder).read_text()
    figures = torture.figures
    assert figures.histories == plan.histories
    assert figures.stale_writes_stored == 0
    assert figures.pauses > 0
    assert figures.takeovers > 0
    assert figures.writes_refused_stale > 0
    return torture


@pytest.mark.timeout(120)
async def test_sqlite_keeps_what_a_killed_writer_was_told(tmp_path: Path) -> None:
    await kill("sqlite", lambda number: SqliteFile(tmp_path / f"{number}.db"), tmp_path, 5)


@pytest.mark.timeout(120)
async def test_postgresql_keeps_what_a_killed_writer_was_told(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    def make(number: int) -> Target:
        return PostgresSchema(own_postgres, f"orchestrator/killed-{number}")

    # The sixth stops the server, too.
    torture = await kill("postgresql", make, tmp_path, 6)
    assert torture.figures.server_stops == 1


@pytest.mark.timeout(120)
async def test_no_stale_write_gets_into_sqlite(tmp_path: Path) -> None:
    await contend(SqliteFile(tmp_path / "s.db"), SHORT, tmp_path)


@pytest.mark.timeout(120)
async def test_no_stale_write_gets_into_postgresql(
    postgres: PostgresServer, owner: str, tmp_path: Path
) -> None:
    await contend(PostgresSchema(postgres, owner), SHORT, tmp_path)


@pytest.mark.timeout(120)
async def test_a_guard_that_accepts_older_fences_is_found(tmp_path: Path) -> None:
    # The first waves find it; there are more, should the machine be too busy for that.
    plan = replace(SHORT, histories=400, together=40, bug="older-fence")
    violation = await LeaseTorture(SqliteFile(tmp_path / "s.db"), plan, tmp_path).run(quiet)
    assert violation is not None
    kept = keep(violation, tmp_path).read_text().splitlines()
    assert "no order explains the answers" in kept[0]
    assert len(kept) == 1 + len(violation.history)
