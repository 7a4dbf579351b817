"""Files that are no store, or a damaged one: a clear error, and the file stays as it was."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from onex_grpc.errors import ConfigurationError, DatabaseConnectionError, OnexError, StoreError
from onex_grpc.store import IntentState, open_store
from onex_grpc.store.sqlite import location
from tests.store.builders import SECOND, change, intent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NOBODY = 65534


async def refused(path: Path) -> OnexError:
    with pytest.raises(OnexError) as caught:
        await open_store(path)
    assert str(path) in caught.value.message
    return caught.value


@pytest.fixture
async def good(tmp_path: Path) -> bytes:
    """A store's file of many pages, as a clean stop leaves it."""
    path = tmp_path / "good.db"
    store = await open_store(path)
    for number in range(60):
        await store.commit(
            change(0, os.urandom(5000), key=f"k{number}", intents=(intent(str(number)),))
        )
    await store.close()
    return path.read_bytes()


@pytest.mark.parametrize("content", [os.urandom(20_000), b"SQLite format 3\0" + b"x" * 5000])
async def test_random_bytes_are_no_store(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(content)
    assert "not an SQLite database" in (await refused(path)).message
    assert path.read_bytes() == content


async def test_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.touch()
    store = await open_store(path)
    assert (await store.commit(change(0))).version == 1  # type: ignore[union-attr]
    await store.close()


def _folder(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _circle(path: Path) -> None:
    path.symlink_to(path.name)


def _lock_folder(path: Path) -> None:
    path.with_name(path.name + ".lock").mkdir()


@pytest.mark.parametrize("make", [_folder, _pipe, _circle, _lock_folder])
async def test_what_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "s.db"
    make(path)
    error = await refused(path)
    assert isinstance(error, ConfigurationError)
    assert "another state folder" in error.message


@pytest.mark.parametrize("part", [0.0, 0.001, 0.1, 0.5, 0.9])
async def test_store_cut_short_is_named_damaged(tmp_path: Path, good: bytes, part: float) -> None:
    path = tmp_path / "cut.db"
    content = good[: max(100, int(len(good) * part))]
    path.write_bytes(content)
    error = await refused(path)
    assert isinstance(error, StoreError)
    assert "onex restore" in error.message
    assert path.read_bytes() == content


@pytest.mark.parametrize("at", [28, 100, 4096])
async def test_store_damaged_at_its_head_is_named_damaged(
    tmp_path: Path, good: bytes, at: int
) -> None:
    path = tmp_path / "damaged.db"
    path.write_bytes(good[:at] + b"\xa5" * 1000 + good[at + 1000 :])
    assert "onex restore" in (await refused(path)).message


async def test_damage_that_is_met_later_fails_calls_and_nothing_else(
    tmp_path: Path, good: bytes
) -> None:
    path = tmp_path / "damaged.db"
    connection = sqlite3.connect(tmp_path / "good.db")
    roots = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'intent'")
    at = (roots.fetchone()[0] - 1) * connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    path.write_bytes(good[:at] + b"\xa5" * 1000 + good[at + 1000 :])
    store = await open_store(path)
    for call in (
        store.commit(change(1, key="k0", intents=(intent("new"),))),
        store.claim_intents("effect/w", 100, SECOND),
        store.list_intents(IntentState.PENDING, 0, 1000),
    ):
        with pytest.raises(StoreError, match="onex restore"):
            await call
    assert (await store.get_state("k0")).version == 1
    await store.commit(change(1, key="k0"))
    await store.close()


async def test_log_of_another_store_is_not_taken_in(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(good)
    (tmp_path / "s.db-wal").write_bytes(os.urandom(100_000))
    store = await open_store(path)
    assert (await store.get_state("k59")).version == 1
    await store.close()


WITHOUT_RIGHTS = """
import asyncio, os, sys
from pathlib import Path
from onex_grpc.errors import OnexError
from onex_grpc.store import open_store
from onex_grpc.store.sqlite import store  # while its files can still be read

path = Path(sys.argv[1])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
try:
    asyncio.run(open_store(path))
except OnexError as error:
    print(type(error).__name__, error.message)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter; those of pytest are its owner's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


@pytest.mark.parametrize("closed", ["folder", "file", "lock"])
async def test_no_permission_is_named(open_folder: Path, closed: str) -> None:
    path = open_folder / "s.db"
    await (await open_store(path)).close()
    folder = path.parent
    target = {"folder": folder, "file": path, "lock": folder / "s.db.lock"}[closed]
    for entry in folder.iterdir():
        entry.chmod(0o666)
    target.chmod(0o000)
    command = [sys.executable, "-c", WITHOUT_RIGHTS, str(path), str(_NOBODY)]
    said = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=30
    )
    target.chmod(0o777)
    assert said.stderr == ""
    assert said.stdout.startswith(f"ConfigurationError the store {path} cannot be written")
    assert "Permission denied" in said.stdout


@pytest.mark.parametrize(
    ("mount", "path", "kind"),
    [
        ("/mnt/data", "data/s.db", "nfs4"),
        (r"/mnt/one\040and", "one and/s.db", "cifs"),
        ("/mnt/данные", "данные/a/s.db", "9p"),
    ],
)
async def test_network_file_system_is_refused_at_the_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mount: str, path: str, kind: str
) -> None:
    mounts = tmp_path / "mountinfo"
    where = mount.replace("/mnt", str(tmp_path))
    mounts.write_text(
        f"22 1 254:0 / / rw - ext4 /dev/vda rw\n40 22 0:35 / {where} rw - {kind} server:/ rw\n"
    )
    monkeypatch.setattr(location, "_MOUNTS", mounts)
    (tmp_path / "link").symlink_to(tmp_path / path.partition("/")[0])
    for address in (tmp_path / path, tmp_path / "link" / "s.db"):
        with pytest.raises(ConfigurationError, match=f"network file system {kind}.*local disk"):
            await open_store(address)
    await (await open_store(tmp_path / "beside.db")).close()


async def test_one_error_for_all_of_a_disk_that_does_not_answer(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    store = await open_store(path)
    await store.close()
    (tmp_path / "s.db-wal").mkdir()
    with pytest.raises(DatabaseConnectionError):
        await open_store(path)
