"""A full disk: calls fail with a clear status, nothing is there by halves, and it heals."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import psycopg
import pytest

from onex_grpc.errors import DatabaseConnectionError
from onex_grpc.store import Committed, IntentState, open_store
from tests.store.builders import KEY, action, change, intent

if TYPE_CHECKING:
    from tests.store.server import PostgresServer

# What each scene does: open where there is no space, fill the disk under an open store, write until
# the log can no longer grow, make room, go on. It tells what happened as one line of JSON.
SCENE = """
import asyncio, json, os, sys
from onex_grpc.errors import OnexError
from onex_grpc.store import ActionRecord, Commit, Exact, IntentState, NewIntent, open_store

async def outcome(call):
    try:
        return await call
    except OnexError as error:
        return error

def told(value):
    return [type(value).__name__, getattr(value, "message", "")]

def change(key, version, size):
    name = f"{key}-{version + 1}"
    return Commit(
        key, Exact(version), bytes(size), "t",
        intents=[NewIntent(name, 3, 3, b"", "c")],
        actions=[ActionRecord("scope", name, b"h", 1, "t", "c", 1)],
    )

async def main(folder, fill, free):
    said = {}
    fill(0)
    said["open"] = told(await outcome(open_store(f"{folder}/never.db")))
    free()
    store = await open_store(f"{folder}/s.db")
    await store.commit(change("k", 0, 100))
    fill(1)
    large = await asyncio.gather(
        *(outcome(store.commit(change(f"l{n}", 0, 7_000_000 if n else 10))) for n in range(3))
    )
    said["large"] = [told(one) for one in large]
    version = 1
    for version in range(1, 3000):
        written = await outcome(store.commit(change("k", version, 30_000)))
        if isinstance(written, OnexError):
            break
    said["small"] = told(written)
    said["read"] = (await store.get_state("k")).version == version
    free()
    said["heals"] = told(await outcome(store.commit(change("k", version, 7_000_000))))
    await store.close()
    store = await open_store(f"{folder}/s.db")
    row = await store.get_state("k")
    said["version"] = [row.version, version + 1]
    queued = await store.list_intents(IntentState.PENDING, 0, 1_000_000)
    written = sum(not isinstance(one, OnexError) for one in large)
    said["intents"] = [len(queued), version + 1 + written]
    said["action"] = [
        await store.find_action("scope", f"k-{n}") is not None for n in (version + 1, version + 2)
    ]
    await store.close()
    print(json.dumps(said))
"""
FILE_SIZE = """
import resource
def fill(stage):
    # No file of the store may grow beyond it: at first none at all, then the log not.
    limit = 65_536 if stage == 0 else 6 * 1024 * 1024 + 200_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
def free():
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
asyncio.run(main(sys.argv[1], fill, free))
"""
SMALL_DISK = """
def fill(stage):
    free()
    disk = os.statvfs(sys.argv[1])
    with open(sys.argv[1] + "/ballast", "wb") as ballast:
        ballast.write(bytes(disk.f_bavail * disk.f_frsize))
def free():
    if os.path.exists(sys.argv[1] + "/ballast"):
        os.unlink(sys.argv[1] + "/ballast")
asyncio.run(main(sys.argv[1], fill, free))
"""


class Said(TypedDict):
    """What a scene tells."""

    open: list[str]
    large: list[list[str]]
    small: list[str]
    heals: list[str]
    read: bool
    version: list[int]
    intents: list[int]
    action: list[bool]


async def play(*command: str) -> Said:
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, cwd=Path.cwd()
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    said: Said = json.loads(done.stdout)
    return said


def judge(said: Said) -> None:
    assert said["open"][0] == "DatabaseConnectionError"
    assert said["small"][0] == "DatabaseConnectionError"
    assert [name for name, _ in said["large"]] in (
        ["Committed", "DatabaseConnectionError", "DatabaseConnectionError"],
        ["DatabaseConnectionError"] * 3,
    )
    assert said["heals"][0] == "Committed"
    assert said["read"]
    assert said["version"][0] == said["version"][1]
    assert said["intents"][0] == said["intents"][1]
    assert said["action"] == [True, False]


async def test_file_that_may_not_grow(tmp_path: Path) -> None:
    """The kernel refuses each write beyond a size, the log's as well as the file's."""
    judge(await play(sys.executable, "-c", SCENE + FILE_SIZE, str(tmp_path)))


async def test_disk_without_space(tmp_path: Path) -> None:
    """A small file system of its own, in a namespace that only the child sees."""
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    mount = f'mount -t tmpfs -o size=24m none "{tmp_path}" && exec "$@"'
    inside = [*namespace, "sh", "-c", mount, "sh"]
    tried = await asyncio.to_thread(subprocess.run, [*inside, "true"], capture_output=True)
    if tried.returncode:
        pytest.skip("this kernel lets nobody mount in a namespace of its own")
    said = await play(*inside, sys.executable, "-c", SCENE + SMALL_DISK, str(tmp_path))
    judge(said)
    for message in (said["open"][1], said["small"][1]):
        assert "full" in message
        assert "free space" in message


async def test_server_without_space(postgres: PostgresServer, owner: str) -> None:
    """PostgreSQL says that its disk is full in the middle of a transaction."""
    store = await open_store(postgres.address, owner=owner)
    await store.commit(change(0, b"kept"))
    full = (
        "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RAISE EXCEPTION ''could not extend file'' USING ERRCODE = ''53100''; END'",
        "CREATE TRIGGER no_space BEFORE INSERT ON intent FOR EACH ROW EXECUTE FUNCTION no_space()",
    )
    with psycopg.connect(postgres.address, autocommit=True) as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", (f'"onex/{owner}"',))
        for statement in full:
            connection.execute(statement)
        both = await asyncio.gather(
            store.commit(change(1, b"lost", intents=(intent("a"),), actions=(action("a"),))),
            store.commit(change(0, key="other")),
            return_exceptions=True,
        )
        assert isinstance(both[0], DatabaseConnectionError)
        assert "full" in both[0].message
        assert "free space" in both[0].message
        assert both[1] == Committed(1)
        assert (await store.get_state(KEY)).state == b"kept"
        assert await store.find_action("w1", "a") is None
        connection.execute("DROP TRIGGER no_space ON intent")
    assert await store.commit(change(1, intents=(intent("a"),))) == Committed(2)
    assert len(await store.list_intents(IntentState.PENDING, 0, 10)) == 1
    await store.close()
