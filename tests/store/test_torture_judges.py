"""What the judges of a killed writer's store must find."""

from __future__ import annotations

import random
from contextlib import closing
from typing import TYPE_CHECKING

import apsw
import pytest

from onex_grpc.store import Committed, LeaseRequest, NewEvent, Store, open_store, workflow_key
from tests.torture.acknowledged import (
    Claimed,
    Done,
    Fact,
    Failed,
    Leased,
    Published,
    Recorded,
    Released,
    Saved,
    read_book,
)
from tests.torture.content import change, checksum
from tests.torture.contents import read_contents
from tests.torture.ledger import Ledger
from tests.torture.stores import SqliteFile
from tests.torture.whole import halves

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = "w0"
KEY = workflow_key(WORKFLOW)
VERSIONS = 6


async def fill(store: Store) -> list[Fact]:
    """Two leases with three commits each, one event, one claim; what a writer would note."""
    chance = random.Random(3)  # noqa: S311 - chances, not secrets
    facts: list[Fact] = []
    for version in range(1, VERSIONS + 1):
        if version in (1, VERSIONS // 2 + 1):
            wish = LeaseRequest(WORKFLOW, "h", 60_000_000, f"r{version}", take_over_own=True)
            lease = await store.acquire_lease(wish)
            facts.append(Leased(WORKFLOW, lease.fence))
        commit = change(chance, key=KEY, version=version, round_number=0, guard=lease.guard)
        assert await store.commit(commit) == Committed(version)
        facts.append(Saved(KEY, version, checksum(commit.state)))
    event = await store.publish_event(NewEvent("t", "e1", b"e1"))
    (claim,) = await store.claim_intents("worker", 1, 60_000_000)
    assert await store.complete_intents([claim.claim_token]) == [True]
    return [
        *facts,
        Published("e1", event.sequence),
        Claimed(claim.intent_id, 1),
        Done(claim.intent_id, dead=False),
    ]


@pytest.fixture
async def written(tmp_path: Path) -> tuple[SqliteFile, Ledger]:
    """A store, and the ledger of what was acknowledged."""
    target = SqliteFile(tmp_path / "s.db")
    store = await open_store(target.address)
    ledger = Ledger()
    ledger.add(await fill(store))
    await store.close()
    return target, ledger


def do(target: SqliteFile, *statements: str) -> None:
    with closing(apsw.Connection(str(target.path))) as connection:
        for statement in statements:
            connection.execute(statement)


async def test_whole_store_is_found_whole(written: tuple[SqliteFile, Ledger]) -> None:
    target, ledger = written
    found = read_contents(target)
    assert list(halves(found)) == []
    assert list(ledger.lost(found)) == []
    assert ledger.wrong == []
    assert ledger.compare(found) == (VERSIONS + 1, 0)
    assert target.damage() == ""


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("DELETE FROM history WHERE version = 3", "gaps"),
        ("DELETE FROM history WHERE version = 6", "without the state"),
        ("UPDATE state SET version = 5", "beyond"),
        ("UPDATE state SET version = 7", "gaps"),
        ("DELETE FROM state", "have no state"),
        ("DELETE FROM action WHERE epoch = 3", "without its action"),
        ("UPDATE action SET epoch = 4 WHERE epoch = 3", "another outcome"),
        ("DELETE FROM intent WHERE seq = 2", "without its intent"),
        ("UPDATE history SET fence = 1 WHERE version = 6", "older fence"),
        ("UPDATE history SET state = (SELECT state FROM history WHERE version = 2)", "holds"),
        ("UPDATE event SET payload = CAST('e2' AS BLOB)", "payload of another"),
    ],
)
async def test_half_commits_are_found(
    written: tuple[SqliteFile, Ledger], damage: str, finding: str
) -> None:
    target, _ = written
    do(target, damage)
    assert [one for one in halves(read_contents(target)) if finding in one]


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (
            "DELETE FROM history WHERE version = 6; DELETE FROM action WHERE epoch = 6; "
            "UPDATE state SET version = 5",
            "version 6 was acknowledged",
        ),
        ("UPDATE history SET state = state || ' ' WHERE version = 4", "version 4"),
        ("UPDATE workflow SET fence = 1", "fence 2 was granted"),
        ("DELETE FROM event", "event e1"),
        ("UPDATE event SET seq = 9", "event e1"),
        ("UPDATE intent SET state = 1", "the end of intent"),
        ("DELETE FROM intent", "was handed out"),
    ],
)
async def test_what_is_lost_is_found(
    written: tuple[SqliteFile, Ledger], damage: str, finding: str
) -> None:
    target, ledger = written
    do(target, damage.replace("state || ' '", "CAST(CAST(state AS TEXT) || ' ' AS BLOB)"))
    assert [one for one in ledger.lost(read_contents(target)) if finding in one]


@pytest.mark.parametrize(
    ("fact", "finding"),
    [
        (Failed("a"), "failure of a"),
        (Recorded("k"), "outcome k"),
        (Released(WORKFLOW, 2), "the end of lease 2"),
    ],
)
async def test_what_was_never_stored_is_found(
    written: tuple[SqliteFile, Ledger], fact: Fact, finding: str
) -> None:
    target, ledger = written
    ledger.add([fact])
    assert [one for one in ledger.lost(read_contents(target)) if finding in one]


@pytest.mark.parametrize(
    "facts",
    [
        [Leased("w", 2), Leased("w", 2)],
        [Leased("w", 2), Leased("w", 1)],
        [Done("i", dead=False), Claimed("i", 2)],
        [Saved("k", 1, 1), Saved("k", 1, 1)],
    ],
)
def test_acknowledgements_that_contradict_each_other_are_found(facts: list[Fact]) -> None:
    ledger = Ledger()
    ledger.add(facts)
    assert len(ledger.wrong) == 1


def test_line_that_was_not_finished_was_not_acknowledged(tmp_path: Path) -> None:
    book = tmp_path / "book"
    assert read_book(book) == []
    book.write_text('["Failed","a"]\n["Failed","b"]')
    assert read_book(book) == [Failed("a")]


def test_damaged_file_is_found(tmp_path: Path) -> None:
    target = SqliteFile(tmp_path / "s.db")
    do(target, "CREATE TABLE t (a)", "CREATE INDEX i ON t (a)", "INSERT INTO t VALUES (1), (2)")
    root = target.rows("SELECT rootpage FROM sqlite_schema WHERE name = 'i'")[0][0][0]
    with open(target.path, "r+b") as file:
        file.seek(4096 * root - 8)
        file.write(b"\xff" * 4)
    assert target.damage()
