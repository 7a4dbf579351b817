"""A node is away for some seconds, and nothing that waits for it fails or happens twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.outage.plan import KINDS, STORES, Kind, Plan
from tests.outage.running import run_outage

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
@pytest.mark.parametrize("kind", KINDS)
async def test_an_outage_delays_and_fails_nothing(
    kind: Kind, restarted: bool, tmp_path: Path
) -> None:
    # Each kind of node is met in both ways.
    other = (KINDS.index(kind) + restarted) % 2 == 1
    plan = Plan(
        kind,
        down_s=3.0,
        workflows=4,
        restarted=restarted,
        way="registry" if other else "addresses",
        store=STORES[other],
        by_kill=not other,
        seed=KINDS.index(kind),
    )
    said: list[str] = []
    figures = await run_outage(plan, tmp_path, said.append)
    assert figures.faults == [], said
    assert figures.failed == 0
    assert figures.all_after_s is not None
