"""Statements of the queue never walk over what is finished: each uses the index made for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw
import pytest

from onex_grpc.store import IntentState, open_store
from onex_grpc.store.sqlite import (
    intent_sql,
    pending_steps,
    purging,
    queries,
    queue_figures,
    trail,
)
from onex_grpc.store.sqlite.connection import open_writer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


async def plan(path: Path, statement: str, bindings: Sequence[str | int]) -> list[str]:
    """The steps of a statement's plan, on an empty store."""
    await (await open_store(path)).close()
    connection = open_writer(path)
    rows = connection.execute("EXPLAIN QUERY PLAN " + statement, tuple(bindings)).fetchall()
    connection.close()
    return [str(row[3]) for row in rows]


@pytest.mark.parametrize(
    ("statement", "bindings", "index"),
    [
        (intent_sql.claim(1), ("nonce", "worker", 0, "a", 10), "intent_ready"),
        (intent_sql.claim(3), ("nonce", "worker", 0, "a", "b", "c", 10), "intent_ready"),
        (intent_sql.READY_ROUTES, (), "intent_ready"),
        (intent_sql.DUE, (0, 64), "intent_timed"),
        (intent_sql.NEXT_DUE, (), "intent_timed"),
        (intent_sql.HAS_EARLIER, ("o",), "intent_ordered"),
        (intent_sql.UNBLOCK, ("o",), "intent_ordered"),
    ],
)
async def test_queue_statements_use_their_index(
    tmp_path: Path, statement: str, bindings: tuple[str | int, ...], index: str
) -> None:
    steps = await plan(tmp_path / "s.db", statement, bindings)
    assert any(index in step for step in steps)
    assert not any(step == "SCAN intent" for step in steps)
    assert not any("TEMP B-TREE" in step for step in steps)


@pytest.mark.parametrize("state", [IntentState.PENDING, IntentState.IN_FLIGHT, IntentState.DEAD])
async def test_lists_use_partial_indexes(tmp_path: Path, state: IntentState) -> None:
    for condition in queries.CONDITIONS[state]:
        statement = f"SELECT count(*), min(created_us) FROM intent WHERE {condition}"  # noqa: S608
        steps = await plan(tmp_path / "s.db", statement, ())
        assert all("USING INDEX intent_" in step or "COVERING" in step for step in steps), steps


async def test_ages_are_found_by_indexes(tmp_path: Path) -> None:
    looks: list[tuple[str, tuple[str | int, ...], str]] = [
        (queue_figures.READY, ("a", 10), "intent_ready (route=?)"),
        (queue_figures.LATER, (10,), "intent_timed"),
        (queue_figures.BLOCKED, (10,), "intent_ordered"),
    ]
    for statement, bindings, index in looks:
        steps = await plan(tmp_path / "s.db", statement, bindings)
        assert any(f"INDEX {index}" in step for step in steps), steps
        assert not any("TEMP B-TREE FOR ORDER BY" in step for step in steps), steps


async def test_trails_are_read_by_indexes(tmp_path: Path) -> None:
    for statement in (trail.HISTORY, trail.ACTIONS):
        steps = await plan(tmp_path / "s.db", statement, ("w", 0, 10))
        assert not any(step.startswith("SCAN") for step in steps), steps


async def test_pending_steps_are_read_and_purged_by_indexes(tmp_path: Path) -> None:
    for statement, bindings, index in (
        (
            pending_steps.OF_WORKFLOW,
            ("w",),
            "INDEX sqlite_autoindex_pending_steps_1 (workflow_id=?",
        ),
        (pending_steps.FORGET, ("w", "a"), "sqlite_autoindex_pending_steps_1"),
        (purging.STEPS, ("workflow/", 0, 10), "INTEGER PRIMARY KEY (rowid>?)"),
        (purging.STEPS, ("workflow/", 0, 10), "SEARCH s USING INDEX sqlite_autoindex_state_1"),
    ):
        steps = await plan(tmp_path / "s.db", statement, bindings)
        assert any(index in each for each in steps), steps
        assert not any(each.startswith("SCAN") for each in steps), steps
    steps = await plan(tmp_path / "s.db", purging.STEPS, ("workflow/", 0, 10))
    assert not any("TEMP B-TREE" in each for each in steps), steps


async def test_open_work_reads_one_lease_per_row(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    steps = await plan(path, queries.OPEN_WORK, ("workflow/", 10, "workflow/", "workflow0"))
    assert any("state_open" in step for step in steps)
    assert any("PRIMARY KEY (workflow_id=?)" in step for step in steps)


async def test_statements_of_the_queue_are_prepared_once(tmp_path: Path) -> None:
    await (await open_store(tmp_path / "s.db")).close()
    connection = open_writer(tmp_path / "s.db")
    prepared: list[str] = []

    def looked_up(*what: object) -> int:
        prepared.append(str(what))
        return apsw.SQLITE_OK

    # Asked whenever a statement is prepared.
    connection.authorizer = looked_up
    statements: list[tuple[str, tuple[str | int, ...]]] = [
        (intent_sql.claim(1), ("nonce", "worker", 0, "", 1)),
        (intent_sql.DUE, (0, 64)),
        (intent_sql.UNBLOCK, ("o",)),
        (intent_sql.SELECT_OLDEST_DEAD, (5,)),
        (trail.HISTORY, ("k", 0, 5)),
    ]
    for statement, bindings in statements:
        connection.execute(statement, bindings).fetchall()
        assert prepared
        prepared.clear()
        connection.execute(statement, bindings).fetchall()
        assert prepared == []
    connection.close()
