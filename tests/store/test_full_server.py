"""A PostgreSQL server whose disk is full, log of writes included."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import psycopg
import pytest

from onex_grpc.errors import DatabaseConnectionError
from onex_grpc.store import open_store
from tests.store.builders import request
from tests.store.ledger import Ledger
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
    ledger = Ledger(store)
    assert await ledger.write(LARGE) is None

    # The tables can no longer grow: the server says so, and goes on.
    disk.fill()
    failures = await asyncio.gather(*(ledger.write(LARGE) for _ in range(4)))
    for failure in failures:
        assert failure is not None
        assert "disk of the store's PostgreSQL is full" in failure.message
        assert "free space" in failure.message
    assert (await store.get_state("k0")).state == LARGE
    assert await ledger.stored() == ledger.acknowledged
    disk.free()
    await ledger.until_it_writes(LARGE)
    assert (await store.renew_lease(lease.guard)).fence == lease.fence
    # Whoever made the calls was told; the log has nothing to add.
    assert caplog.text == ""

    # Nor can the log: the server crashes, and cannot start.
    disk.fill()
    async with asyncio.timeout(30):
        while disk.is_up():
            use_up_log(disk.address)
            await ledger.write(b"small")
    assert isinstance(await ledger.write(b"small"), DatabaseConnectionError)
    disk.free()
    await ledger.until_it_writes(LARGE)
    assert set(ledger.acknowledged) <= set(await ledger.stored())
    assert (await store.get_state("k0")).state == LARGE
    assert (await store.acquire_lease(request(workflow_id="w2"))).fence > lease.fence
    await store.close()
