"""A PostgreSQL server whose disk is full, log of writes included."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import psycopg
import pytest

from onex_grpc.errors import DatabaseConnectionError
from onex_grpc.store import Committed, IntentState, Store, open_store
from tests.store.builders import action, change, intent, request
from tests.store.small_disk import SmallDisk

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = bytes(300_000)


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    small = SmallDisk()
    if why := small.refusal():
        small.remove()
        pytest.skip(f"this machine lets nobody mount in a namespace of its own: {why}")
    with small:
        yield small


class Writer:
    """Writes a state of its own, an intent and an action at a time; knows what was acknowledged."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.tried = 0
        self.acknowledged: list[str] = []

    async def write(self, state: bytes) -> DatabaseConnectionError | None:
        name = f"k{self.tried}"
        self.tried += 1
        try:
            written = await self._store.commit(
                change(0, state, key=name, intents=(intent(name),), actions=(action(name),))
            )
        except DatabaseConnectionError as error:
            return error
        assert written == Committed(1)
        self.acknowledged.append(name)
        return None

    async def stored(self) -> list[str]:
        """The names of all writes that are there; each with all that belongs to it."""
        queued = await self._store.list_intents(IntentState.PENDING, 0, 10_000)
        names = {row.payload.decode() for row in queued}
        for name in (f"k{number}" for number in range(self.tried)):
            there = (await self._store.get_state(name)).version == 1
            assert there == (name in names)
            assert there == (await self._store.find_action("w1", name) is not None)
        return sorted(names)


async def until_it_writes(writer: Writer) -> None:
    async with asyncio.timeout(20):
        while True:
            if await writer.write(LARGE) is None:
                return
            await asyncio.sleep(0.05)


def use_up_log(address: str) -> None:
    """Has another client of the server write until next to nothing of the log's file is left."""
    segment, page, header = 16 * 1024 * 1024, 8192, 24
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(address) as connection:
        row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
        assert row is not None
        left = segment - int(row[0]) % segment
        if left > 3 * page:
            message = "SELECT pg_logical_emit_message(true, '', repeat('x', %s))"
            connection.execute(message, (left - left // page * header - 2 * page,))


async def test_data_and_log_without_space(
    disk: SmallDisk, owner: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = await open_store(disk.address, owner=owner)
    lease = await store.acquire_lease(request())
    writer = Writer(store)
    assert await writer.write(LARGE) is None

    # The tables can no longer grow: the server says so, and goes on.
    disk.fill()
    failures = await asyncio.gather(*(writer.write(LARGE) for _ in range(4)))
    for failure in failures:
        assert failure is not None
        assert "disk of the store's PostgreSQL is full" in failure.message
        assert "free space" in failure.message
    assert (await store.get_state("k0")).state == LARGE
    assert await writer.stored() == writer.acknowledged
    disk.free()
    await until_it_writes(writer)
    assert (await store.renew_lease(lease.guard)).fence == lease.fence
    # Whoever made the calls was told; the log has nothing to add.
    assert caplog.text == ""

    # Nor can the log: the server crashes, and cannot start.
    disk.fill()
    async with asyncio.timeout(30):
        while disk.is_up():
            use_up_log(disk.address)
            await writer.write(b"small")
    assert isinstance(await writer.write(b"small"), DatabaseConnectionError)
    disk.free()
    await until_it_writes(writer)
    assert set(writer.acknowledged) <= set(await writer.stored())
    assert (await store.get_state("k0")).state == LARGE
    assert (await store.acquire_lease(request(workflow_id="w2"))).fence > lease.fence
    await store.close()
