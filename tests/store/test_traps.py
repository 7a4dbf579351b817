"""Traps of a durable core that no other test shows; `tests.store.traps` has the table of all."""

from __future__ import annotations

import ast
import asyncio
from contextlib import AsyncExitStack, closing
from typing import TYPE_CHECKING

import apsw
import psycopg
import pytest

from onex_grpc.errors import ConfigurationError, EpochMismatchError
from onex_grpc.store import Committed, NewEvent, Store, open_store
from onex_grpc.store.postgres import open_postgres
from tests.store.builders import SECOND, ManualClock, change, intent, request
from tests.store.traps import ROOT, TRAPS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.store.server import PostgresServer


@pytest.mark.parametrize("number", range(1, 20))
def test_each_trap_has_tests_that_exist(number: int) -> None:
    """Without: a test that is renamed or removed leaves its trap unwatched."""
    for test in TRAPS[number].tests:
        file, _, name = test.partition("::")
        module = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        found = [
            node.name
            for node in module.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        assert name in found


async def test_takeover_goes_on_at_the_epoch_it_finds(store: Store, clock: ManualClock) -> None:
    """Trap 2. Without: the new holder begins at 0, fails, or lets the old one's actions in."""
    first = await store.acquire_lease(request("orchestrator/a"))
    for version in range(3):
        await store.commit(change(version, guard=first.guard))
    clock.forward(31)
    second = await store.acquire_lease(request("orchestrator/b"))
    assert (second.fence > first.fence, second.epoch) == (True, 3)
    assert await store.commit(change(second.epoch, guard=second.guard)) == Committed(4)
    await store.release_lease(second.guard)
    third = await store.acquire_lease(request("orchestrator/a"))
    assert (third.fence > second.fence, third.epoch) == (True, 4)


async def test_of_many_who_saw_one_version_one_writes(store: Store) -> None:
    """Trap 3. Without: all pass the check before the first has written."""
    lease = await store.acquire_lease(request())
    outcomes = await asyncio.gather(
        *(store.commit(change(0, b"%d" % n, guard=lease.guard)) for n in range(20)),
        return_exceptions=True,
    )
    assert sum(outcome == Committed(1) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, EpochMismatchError) for outcome in outcomes) == 19
    assert (await store.verify_lease(lease.guard)).epoch == 1


async def test_event_that_commits_late_is_not_overtaken(
    postgres: PostgresServer, owner: str
) -> None:
    """Trap 8. Without: who has read the second event never sees the first."""
    async with AsyncExitStack() as opened:
        stores = []
        for _ in range(2):
            store = await open_postgres(postgres.address, schema=owner)
            opened.push_async_callback(store.close)
            stores.append(store)
        with psycopg.connect(postgres.address, autocommit=True) as rival:
            rival.execute("SELECT set_config('search_path', %s, false)", (f'"{owner}"',))
            for statement in (
                "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN "
                "PERFORM pg_advisory_xact_lock(42); RETURN NULL; END'",
                "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON event DEFERRABLE INITIALLY "
                "DEFERRED FOR EACH ROW WHEN (NEW.event_id = 'first') EXECUTE FUNCTION late()",
                "SELECT pg_advisory_lock(42)",
            ):
                rival.execute(statement)
            for store in stores:
                # Then neither has to store the time with its next batch, which would hold one back.
                await store.publish_event(NewEvent("other", repr(store), b""))
            first = asyncio.ensure_future(stores[0].publish_event(NewEvent("t", "first", b"")))
            await _waiting(rival, 1)
            second = asyncio.ensure_future(stores[1].publish_event(NewEvent("t", "second", b"")))
            # It is done in a moment where nothing holds it back.
            await asyncio.wait((second,), timeout=0.3)
            assert (await stores[1].event_span("t")).head == 0
            rival.execute("SELECT pg_advisory_unlock(42)")
        assert (await first).sequence < (await second).sequence
        assert len(await stores[1].read_events("t", 0, 10)) == 2


async def test_intent_added_while_the_one_before_ends_is_not_forgotten(
    postgres: PostgresServer, owner: str
) -> None:
    """Trap 16. Without: each of two processes sees only what was before the other, and what was
    added waits for an end that is over.
    """
    async with AsyncExitStack() as opened:
        stores = []
        for _ in range(2):
            store = await open_postgres(postgres.address, schema=owner)
            opened.push_async_callback(store.close)
            stores.append(store)
        await stores[1].commit(change(0, key="a", intents=(intent("a", order_key="o"),)))
        (claim,) = await stores[1].claim_intents("effect/w", 1, 60 * SECOND)
        with psycopg.connect(postgres.address, autocommit=True) as rival:
            rival.execute("SELECT set_config('search_path', %s, false)", (f'"{owner}"',))
            for statement in (
                "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN "
                "PERFORM pg_advisory_xact_lock(43); RETURN NULL; END'",
                "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON intent DEFERRABLE INITIALLY "
                "DEFERRED FOR EACH ROW EXECUTE FUNCTION late()",
                "SELECT pg_advisory_lock(43)",
            ):
                rival.execute(statement)
            added = change(0, key="b", intents=(intent("b", order_key="o"),))
            adding = asyncio.ensure_future(stores[0].commit(added))
            await _waiting(rival, 1)
            ending = asyncio.ensure_future(stores[1].complete_intents([claim.claim_token]))
            await asyncio.wait((ending,), timeout=0.3)
            rival.execute("SELECT pg_advisory_unlock(43)")
        assert await adding == Committed(1)
        assert await ending == [True]
        (behind,) = await stores[0].claim_intents("effect/w", 5, 60 * SECOND)
        assert behind.intent_id == "id-b"


async def _waiting(rival: psycopg.Connection[tuple[object, ...]], sessions: int) -> None:
    question = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with asyncio.timeout(10):
        while True:
            if rival.execute(question).fetchone() == (sessions,):
                return
            await asyncio.sleep(0.005)


async def test_commit_waits_for_another_programs_write(tmp_path: Path) -> None:
    """Trap 9. Without: SQLite refuses at once to turn a read into a write, however long one may
    wait.
    """
    store = await open_store(tmp_path / "s.db")
    await store.commit(change(0))
    # Not of the standard library's sqlite3: a process does not see its own locks.
    with closing(apsw.Connection(str(tmp_path / "s.db"))) as operator:
        operator.execute("BEGIN IMMEDIATE")
        writing = asyncio.ensure_future(store.commit(change(1)))
        await asyncio.wait((writing,), timeout=0.3)
        assert not writing.done()
        operator.execute("ROLLBACK")
    assert await writing == Committed(2)
    await store.close()


async def test_library_that_corrupts_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 10. Without: a file is corrupted, rarely, and long before anybody sees it."""
    monkeypatch.setattr(apsw, "SQLITE_VERSION_NUMBER", 3_051_002)
    with pytest.raises(ConfigurationError, match=r"install apsw 3\.51\.3"):
        await open_store(tmp_path / "s.db")
    monkeypatch.undo()
    await (await open_store(tmp_path / "s.db")).close()


def test_no_sum_is_read_before_what_it_waits_for() -> None:
    """Trap 18. Without: of two coroutines that add to one sum, one adds to what it was before."""
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for folder in ("onex_grpc", "servers", "bench", "tests")
        for path in (ROOT / folder).rglob("*.py")
        for line in _late_sums(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_such_a_sum_is_found() -> None:
    text = "async def f():\n    nonlocal n\n    n += 1\n    self.n += 2 + await g()\n"
    assert _late_sums(text + "    n += await g()\n    own += await g()\n") == [4, 5]


def _late_sums(text: str) -> list[int]:
    nodes = list(ast.walk(ast.parse(text)))
    shared = {
        name for node in nodes if isinstance(node, ast.Nonlocal | ast.Global) for name in node.names
    }
    return [
        node.lineno
        for node in nodes
        if isinstance(node, ast.AugAssign)
        # What only one coroutine knows, no other one changes.
        and not (isinstance(node.target, ast.Name) and node.target.id not in shared)
        and any(isinstance(part, ast.Await) for part in ast.walk(node.value))
    ]
