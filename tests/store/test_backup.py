"""Backup of a SQLite store in use, its way back, and damage that is seen at the start."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from onex_grpc.cli.backup import backup as backup_command
from onex_grpc.cli.backup import restore as restore_command
from onex_grpc.errors import (
    ConfigurationError,
    LeaseExpiredError,
    StaleFenceError,
    StoreError,
    StoreInUseError,
)
from onex_grpc.store import IdempotencyRecord, NodeEntry, open_store
from onex_grpc.store.keys import STORE_ID
from onex_grpc.store.sqlite import SqliteStore, integrity
from onex_grpc.store.sqlite.backup import backup, restore
from tests.store.builders import KEY, change, request

if TYPE_CHECKING:
    from collections.abc import Callable

    import apsw

WRITER = """
import asyncio, sys
from onex_grpc.store import IdempotencyRecord, NodeEntry, open_store
from onex_grpc.store.keys import STORE_ID

async def main():
    store = await open_store(sys.argv[1])
    number = 0
    while True:
        await store.record_outcome(str(number), IdempotencyRecord(b"", bytes(2000)))
        number += 1
        print(number, flush=True)

asyncio.run(main())
"""


async def test_backup_of_a_store_in_use_is_a_whole_store(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "s.db")
    assert isinstance(store, SqliteStore)
    for version in range(50):
        await store.commit(change(version, b"%d" % version))
    writing = asyncio.gather(*(store.commit(change(None, bytes(9000))) for _ in range(50)))
    size = await store.backup_to(tmp_path / "copy.db")
    await writing
    await store.close()
    assert size == (tmp_path / "copy.db").stat().st_size
    assert set(os.listdir(tmp_path)) == {"s.db", "s.db.lock", "copy.db"}
    copy = await open_store(tmp_path / "copy.db")
    assert 50 <= (await copy.get_state(KEY)).version <= 100
    await copy.close()


async def test_backup_beside_another_process(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    pipe = asyncio.subprocess.PIPE
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(path), stdout=pipe
    )
    assert writer.stdout is not None
    written = 0
    try:
        for number in range(3):
            written = int(await writer.stdout.readline())
            result = CliRunner().invoke(backup_command, [str(path), str(tmp_path / f"{number}.db")])
            assert result.exit_code == 0, result.output
        os.kill(writer.pid, signal.SIGKILL)
    finally:
        await writer.communicate()
    last = await open_store(tmp_path / "2.db")
    for number in range(written):
        assert await last.find_outcome(str(number)) is not None
    await last.close()


async def test_restored_fences_are_above_all_that_were_issued(tmp_path: Path) -> None:
    path, copy = tmp_path / "s.db", tmp_path / "copy.db"
    store = await open_store(path)
    before = await store.acquire_lease(request())
    await store.commit(change(0, b"kept", guard=before.guard))
    backup(path, copy)
    with pytest.raises(StoreInUseError):
        restore(copy, path)
    await store.release_lease(before.guard)
    later = await store.acquire_lease(request())
    await store.commit(change(1, b"lost", guard=later.guard))
    await store.close()
    kept = restore(copy, path)
    store = await open_store(path)
    assert (await store.get_state(KEY)).state == b"kept"
    with pytest.raises(LeaseExpiredError):
        await store.commit(change(None, guard=before.guard))
    fresh = await store.acquire_lease(request())
    assert fresh.fence > later.fence + 2**31
    with pytest.raises(StaleFenceError):
        await store.commit(change(None, guard=later.guard))
    await store.close()
    assert kept is not None
    former = await open_store(kept)
    assert (await former.get_state(KEY)).state == b"lost"
    await former.close()


async def test_restored_store_is_another_one_in_which_nobody_is_registered(tmp_path: Path) -> None:
    path, copy = tmp_path / "s.db", tmp_path / "copy.db"
    store = await open_store(path)
    await store.get_or_create_secret(STORE_ID, b"first life")
    await store.get_or_create_secret("signing-key", b"key")
    await store.register_node(NodeEntry("reducer/orders", "", "s1", "here", b""))
    backup(path, copy)
    await store.close()
    result = CliRunner().invoke(restore_command, [str(copy), str(path)])
    assert result.exit_code == 0, result.output
    store = await open_store(path)
    assert await store.get_or_create_secret(STORE_ID, b"second life") == b"second life"
    assert await store.get_or_create_secret("signing-key", b"other") == b"key"
    found = await store.list_nodes()
    assert (found.revision, list(found.entries)) == (2, [])
    await store.register_node(NodeEntry("reducer/orders", "", "s2", "here", b""))
    await store.close()
    # What was there before has its life still.
    former = await open_store(tmp_path / "s.db.replaced-1")
    assert await former.get_or_create_secret(STORE_ID, b"third life") == b"first life"
    assert len((await former.list_nodes()).entries) == 1
    await former.close()


async def test_commands_say_what_they_did(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "s.db")
    await store.commit(change(0))
    await store.close()
    runner = CliRunner()
    made = runner.invoke(backup_command, [f"sqlite:///{tmp_path}/s.db", str(tmp_path / "b" / "c")])
    assert (made.exit_code, "bytes" in made.output) == (0, True)
    new = runner.invoke(restore_command, [str(tmp_path / "b" / "c"), str(tmp_path / "new.db")])
    assert new.output == f"{tmp_path}/new.db: restored\n"
    old = runner.invoke(restore_command, [str(tmp_path / "b" / "c"), str(tmp_path / "s.db")])
    assert "s.db.replaced-1" in old.output


async def test_what_cannot_be_backed_up_or_restored_is_named(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "s.db")
    await store.close()
    (tmp_path / "notes.txt").write_text("dear diary, " * 500)
    missing, notes, good = tmp_path / "missing.db", tmp_path / "notes.txt", tmp_path / "s.db"
    with pytest.raises(ConfigurationError, match="no store at"):
        backup(missing, tmp_path / "x.db")
    with pytest.raises(ConfigurationError, match="exists"):
        backup(good, notes)
    for path in (notes, missing):
        with pytest.raises(ConfigurationError):
            restore(path, good)
    with pytest.raises(ConfigurationError, match="not an SQLite database"):
        backup(notes, tmp_path / "x.db")
    answer = CliRunner().invoke(backup_command, ["postgresql://h/d", str(tmp_path / "x.db")])
    assert isinstance(answer.exception, ConfigurationError)
    await (await open_store(good)).close()
    assert not [name for name in os.listdir(tmp_path) if ".part" in name]


def damage(path: Path) -> None:
    """Makes a store look as if it were left open, with damage in a page of its outcomes."""
    Path(f"{path}-wal").write_bytes(bytes(4096))
    with open(path, "rb+") as file:
        file.seek(30 * 4096)
        file.write(b"\xff" * 8192)


async def test_damage_is_found_while_the_store_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s.db"
    await filled(path)
    damage(path)
    # Until it is found whole each process looks, although the one before has closed it.
    for _ in range(2):
        found: asyncio.Future[StoreError] = asyncio.get_running_loop().create_future()
        store = await open_store(path, on_damage=heard_by(found))
        error = await asyncio.wait_for(found, 20)
        assert "onex restore" in str(error)
        await store.commit(change(None))
        await store.close()
    assert [record.levelname for record in caplog.records if "damaged" in record.message] == [
        *("CRITICAL", "CRITICAL")
    ]
    shutil.copy(path, tmp_path / "copy.db")
    with pytest.raises(StoreError, match="damaged"):
        restore(tmp_path / "copy.db", tmp_path / "other.db")


async def test_store_is_used_before_it_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.db"
    look, reached, go_on = integrity.check_integrity, threading.Event(), threading.Event()

    def slow(connection: apsw.Connection, path: Path) -> None:
        reached.set()
        assert go_on.wait(20)
        look(connection, path)

    monkeypatch.setattr(integrity, "check_integrity", slow)
    await left_open(path)
    assert not reached.is_set()
    store = await open_store(path)
    await asyncio.to_thread(reached.wait, 20)
    assert await store.find_outcome("0") is not None
    await store.commit(change(0))
    go_on.set()
    await whole(path)
    await store.close()
    # A store that was found whole, and closed, is not looked at again.
    reached.clear()
    await (await open_store(path)).close()
    assert not reached.is_set()


async def test_check_that_was_cut_short_is_made_by_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await left_open(path)
    for _ in range(3):
        store = await open_store(path)
        await store.close()
    store = await open_store(path)
    await whole(path)
    await store.close()


async def test_restored_store_is_not_looked_at_again(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await filled(path)
    backup(path, tmp_path / "copy.db")
    damage(path)
    store = await open_store(path)
    await store.close()
    restore(tmp_path / "copy.db", path)
    assert not is_unchecked(path)
    await (await open_store(path)).close()


async def filled(path: Path) -> None:
    """A store of some hundred pages, closed."""
    store = await open_store(path)
    for number in range(200):
        await store.record_outcome(str(number), IdempotencyRecord(b"", bytes(2000)))
    await store.close()


async def left_open(path: Path) -> None:
    """A store whose process was killed."""
    pipe = asyncio.subprocess.PIPE
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(path), stdout=pipe
    )
    assert writer.stdout is not None
    await writer.stdout.readline()
    writer.kill()
    await writer.communicate()


def is_unchecked(path: Path) -> bool:
    return "unchecked" in Path(f"{path}.lock").read_text()


async def whole(path: Path) -> None:
    """Returns when the store's check has passed."""
    async with asyncio.timeout(20):
        while True:
            if not is_unchecked(path):
                return
            await asyncio.sleep(0.01)


def heard_by(found: asyncio.Future[StoreError]) -> Callable[[StoreError], None]:
    loop = asyncio.get_running_loop()

    def hear(error: StoreError) -> None:
        loop.call_soon_threadsafe(found.set_result, error)

    return hear


async def test_old_store_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    scripts = Path(sys.modules["onex_grpc.store.sqlite.schema"].__file__ or "").parent
    connection = sqlite3.connect(path)
    connection.executescript((scripts / "migrations" / "0001_initial.sql").read_text())
    for number, state in enumerate((1, 2, 3, 5, 5, 6), start=1):
        connection.execute(
            "INSERT INTO intent (intent_id, state, priority, rank_us, timed_us, attempts, "
            "max_attempts, claim, worker, order_key, created_us, correlation_id, traceparent, "
            "payload, last_error) VALUES (?, ?, 3, 0, 0, 0, 3, '', '', '', 1, '', '', x'', x'')",
            (str(number), state),
        )
    connection.execute("PRAGMA application_id = 0x4F4E4558")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    store = await open_store(path)
    stats = await store.queue_stats()
    assert (stats.pending, stats.in_flight, stats.completed, stats.dead) == (2, 1, 2, 1)
    assert [(row.route, row.pending) for row in stats.routes] == [("", 2)]
    await store.close()
