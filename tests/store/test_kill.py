"""A writer killed at any moment: what it acknowledged is there, and nothing is there by halves."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from onex_grpc.store import IntentState, Store, open_store
from tests.store.builders import over_a_restart

WRITER = """
import asyncio, os, sys
from onex_grpc.store import ActionRecord, Commit, Exact, NewIntent
from onex_grpc.store import new_id, open_store, wall_clock_us

async def write(store, key):
    version = (await store.get_state(key)).version
    while True:
        now = wall_clock_us()
        await store.commit(Commit(
            key, Exact(version), b"%d" % (version + 1), "t",
            intents=[NewIntent(new_id(now), 3, 3, b"%s %d" % (key.encode(), version + 1), "c")],
            actions=[ActionRecord("scope", f"{key}-{version + 1}", b"h", 1, "t", "c", now)],
        ))
        version += 1
        os.write(1, f"{key} {version}\\n".encode())

async def main():
    store = await open_store(sys.argv[1], owner=sys.argv[2])
    await asyncio.gather(*(write(store, f"k{n}") for n in range(8)))

asyncio.run(main())
"""
ROUNDS = 5


def run_and_kill(address: str, owner: str, acknowledged: dict[str, int], lines: int) -> None:
    command = [sys.executable, "-c", WRITER, address, owner]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as it:
        assert it.stdout is not None
        for _ in range(lines):
            note(it.stdout.readline(), acknowledged)
        it.kill()
        for line in it.stdout:
            note(line, acknowledged)


def note(line: bytes, acknowledged: dict[str, int]) -> None:
    if line.endswith(b"\n"):
        key, version = line.split()
        acknowledged[key.decode()] = int(version)


async def check(store: Store, acknowledged: dict[str, int]) -> int:
    versions = {key: await store.get_state(key) for key in acknowledged}
    for key, row in versions.items():
        assert row.version >= acknowledged[key]
        assert row.state == b"%d" % row.version
        assert await store.find_action("scope", f"{key}-{row.version}") is not None
        assert await store.find_action("scope", f"{key}-{row.version + 1}") is None
    queued = await store.list_intents(IntentState.PENDING, 0, 1_000_000)
    emitted = {f"{key} {n}" for key, row in versions.items() for n in range(1, row.version + 1)}
    assert {row.payload.decode() for row in queued} == emitted
    assert len(queued) == len(emitted)
    return len(queued)


@pytest.mark.timeout(120)
@over_a_restart
async def test_killed_writer_loses_nothing_it_acknowledged(address: str, owner: str) -> None:
    chance = random.Random(11)  # noqa: S311 - moments of death, not secrets
    acknowledged: dict[str, int] = {}
    stored = 0
    for _ in range(ROUNDS):
        run_and_kill(address, owner, acknowledged, chance.randrange(50, 600))
        store = await open_store(address, owner=owner)
        grown = await check(store, acknowledged)
        await store.close()
        assert grown > stored
        stored = grown
