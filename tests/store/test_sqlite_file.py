"""The file of a SQLite store: whose it is, who has it open, where it may lie."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
from pathlib import Path
from signal import SIGKILL

import pytest

from onex_grpc.errors import ConfigurationError, DatabaseConnectionError, StoreInUseError
from onex_grpc.store import open_store
from onex_grpc.store.sqlite.location import refuse_network
from onex_grpc.store.sqlite.schema import APPLICATION_ID
from tests.store.builders import change

HOLDER = """
import asyncio, sys
from onex_grpc.store import open_store

async def main():
    store = await open_store(sys.argv[1])
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await store.close()

asyncio.run(main())
"""


# In C, so that Python hears nothing of it.
FORKER = """
import asyncio, ctypes, os, sys, time
from onex_grpc.store import open_store

async def main():
    await open_store(sys.argv[1])
    child = ctypes.PyDLL(None).fork()
    if child == 0:
        os.close(1)
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    os._exit(0)

asyncio.run(main())
"""


async def refused(address: str | Path) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        await open_store(address)
    return caught.value


async def test_all_files_are_private(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "new" / "s.db")
    await store.commit(change(0))
    files = list((tmp_path / "new").iterdir())
    assert {file.name for file in files} >= {"s.db", "s.db.lock", "s.db-wal"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    await store.close()


async def test_log_is_at_its_working_size_from_the_start(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "s.db")
    size = (tmp_path / "s.db-wal").stat().st_size
    for version in range(50):
        await store.commit(change(version))
    assert (tmp_path / "s.db-wal").stat().st_size == size >= 4 * 1024 * 1024
    await store.close()


async def test_file_is_durable_by_its_settings(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "s.db")
    await store.close()
    connection = sqlite3.connect(tmp_path / "s.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_second_process_is_told_who_has_the_store(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    pipe = asyncio.subprocess.PIPE
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, str(path), stdin=pipe, stdout=pipe
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"open\n"
    with pytest.raises(StoreInUseError) as caught:
        await open_store(path)
    assert caught.value.context["pid"] == str(holder.pid)
    holder.kill()
    await holder.wait()
    store = await open_store(path)
    await store.close()


async def test_second_store_in_one_process_is_refused_too(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "s.db")
    with pytest.raises(StoreInUseError, match=str(os.getpid())):
        await open_store(tmp_path / "s.db")
    await store.close()
    await (await open_store(tmp_path / "s.db")).close()


async def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "s.db", Path("/proc/onex/s.db"), tmp_path):
        error = await refused(path)
        assert str(path) in error.message
        assert "another state folder" in error.message


@pytest.mark.parametrize("address", ["mysql://host/db", "redis://x", "sqlite://s.db", ""])
async def test_unknown_kind_of_store_is_named(address: str) -> None:
    error = await refused(address)
    assert "sqlite:///" in error.message


async def test_address_may_be_a_url_or_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    addresses: list[str | Path] = [
        "sqlite:///a/s.db",
        f"sqlite:///{tmp_path}/b/s.db",
        "c/s.db",
        Path("d/s.db"),
    ]
    for folder, address in zip("abcd", addresses, strict=True):
        await (await open_store(address)).close()
        assert (tmp_path / folder / "s.db").exists()


async def test_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 500)
    assert "not an SQLite database" in (await refused(path)).message
    assert path.read_text() == "dear diary, " * 500


@pytest.mark.parametrize("pragma", ["", "PRAGMA application_id = 7", "PRAGMA user_version = 3"])
async def test_database_of_another_program_is_left_alone(tmp_path: Path, pragma: str) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute(pragma)
    if not pragma:
        connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    assert "another program" in (await refused(path)).message
    assert path.read_bytes() == before
    assert not (tmp_path / "other.db-wal").exists()


async def test_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await (await open_store(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    assert "999" in (await refused(path)).message


async def test_refused_store_gives_its_lock_up(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_text("not a database at all")
    await refused(path)
    path.unlink()
    await (await open_store(path)).close()


async def test_full_disk_fails_calls_and_heals(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    store = await open_store(path)
    await store.commit(change(0, b"kept"))
    # A limit on the file's pages is how SQLite can be made to say that the disk is full.
    writer = store._batcher._runner._connection  # type: ignore[attr-defined]
    pages = writer.pragma("max_page_count", writer.pragma("page_count") + 2)
    huge = bytes(1_000_000)
    with pytest.raises(DatabaseConnectionError, match="full"):
        await store.commit(change(1, huge))
    both = await asyncio.gather(
        store.commit(change(1, huge)), store.get_or_create_secret("s", b"x"), return_exceptions=True
    )
    assert isinstance(both[0], DatabaseConnectionError)
    assert (await store.get_state("workflow/w1")).state == b"kept"
    writer.pragma("max_page_count", pages + 10_000)
    await store.commit(change(1, huge))
    await store.close()


MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:35 / /home rw - nfs4 server:/home rw
41 40 254:1 / /home/local\040disk rw shared:9 master:1 - xfs /dev/vdb rw
42 22 0:36 / /mnt/share rw - cifs //server/share rw
43 22 0:37 / /mnt/strange rw - somethingfs none rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/home/me/s.db", "nfs4"), ("/mnt/share/s.db", "cifs"), ("/home/local/s.db", "nfs4")],
)
def test_network_file_systems_are_refused(path: str, kind: str) -> None:
    with pytest.raises(ConfigurationError, match=kind):
        refuse_network(Path(path), MOUNTS)


@pytest.mark.parametrize(
    "path", ["/var/s.db", "/home/local disk/s.db", "/mnt/strange/s.db", "/homes/s.db"]
)
def test_local_and_unknown_file_systems_are_not(path: str) -> None:
    refuse_network(Path(path), MOUNTS)
    refuse_network(Path(path), "")


async def test_store_that_a_child_has_kept_says_how_to_find_it(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FORKER, str(path)), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    child = int(said)
    try:
        with pytest.raises(StoreInUseError, match=f"process {process.pid}.*fuser"):
            await open_store(path)
    finally:
        os.kill(child, SIGKILL)
