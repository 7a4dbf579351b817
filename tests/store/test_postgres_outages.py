"""A PostgreSQL server that goes away, and connections that break."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from onex_grpc.errors import DatabaseConnectionError, StoreInUseError
from onex_grpc.store import Committed, IdempotencyRecord, NewEvent, open_store
from onex_grpc.store.postgres import PostgresStore, open_postgres
from tests.store.builders import KEY, SECOND, change, request
from tests.store.ledger import Ledger

if TYPE_CHECKING:
    from tests.store.server import PostgresServer


async def parked(store: PostgresStore) -> None:
    """Returns when every read that was asked for before is done."""
    # Each of the two threads runs one of these, so neither runs anything else.
    both = threading.Barrier(2, timeout=10)
    await asyncio.gather(*(store._reader.read(lambda _: both.wait()) for _ in range(2)))
    await asyncio.sleep(0)


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGINT])
async def test_server_that_goes_away_and_returns(
    own_postgres: PostgresServer, owner: str, how: signal.Signals
) -> None:
    store = await open_postgres(own_postgres.address, owner=owner)
    await store.commit(change(0, b"kept"))
    lease = await store.acquire_lease(request())
    assert await store.claim_intents("effect/w", 1, SECOND) == []
    waits = [
        asyncio.ensure_future(store.wait_intents(None)),
        asyncio.ensure_future(store.wait_events("t", 0)),
    ]
    await parked(store)
    own_postgres.halt(how)
    calls = [store.commit(change(1)), store.renew_lease(lease.guard), store.get_state(KEY)]
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, DatabaseConnectionError)
    own_postgres.start()
    async with asyncio.timeout(20):
        while True:
            try:
                row = await store.get_state(KEY)
                await store.commit(change(row.version, b"after"))
                break
            except DatabaseConnectionError:
                await asyncio.sleep(0.05)
        await waits[0]
        await store.publish_event(NewEvent("t", "e", b""))
        await waits[1]
    assert (row.version, row.state) == (1, b"kept")
    assert (await store.renew_lease(lease.guard)).fence == lease.fence
    with pytest.raises(StoreInUseError):
        await open_store(own_postgres.address, owner=owner)
    await store.close()


async def test_server_that_crashes_under_load(own_postgres: PostgresServer, owner: str) -> None:
    store = await open_store(own_postgres.address, owner=owner)
    ledger = Ledger(store)

    async def write_on() -> None:
        while await ledger.write(b"state" * 100) is None:
            pass

    for _ in range(3):
        await ledger.until_it_writes(b"first")
        writing = [asyncio.ensure_future(write_on()) for _ in range(8)]
        wanted = len(ledger.acknowledged) + 50
        while len(ledger.acknowledged) < wanted:
            await ledger.write(b"another")
        own_postgres.halt()
        await asyncio.wait_for(asyncio.gather(*writing), 20)
        own_postgres.start()
    await ledger.until_it_writes(b"last")
    assert set(ledger.acknowledged) <= set(await ledger.stored())
    await store.close()


async def test_connections_that_are_cut_cost_no_call(postgres: PostgresServer, owner: str) -> None:
    store = await open_store(postgres.address, owner=owner)
    await store.commit(change(0))
    assert (await store.get_state(KEY)).version == 1
    with psycopg.connect(postgres.address) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = %s",
            (f"onex-grpc {owner}",),
        )
    assert await store.commit(change(1)) == Committed(2)
    assert (await store.get_state(KEY)).version == 2
    await store.close()


async def test_connection_lost_in_the_commit_says_so(postgres: PostgresServer, owner: str) -> None:
    store = await open_postgres(postgres.address, schema=owner)
    slow = (
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_sleep(30); RETURN NULL; END'",
        "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON outcome DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    with psycopg.connect(postgres.address, autocommit=True) as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", (f'"{owner}"',))
        for statement in slow:
            connection.execute(statement)
        writing = asyncio.ensure_future(store.record_outcome("k", IdempotencyRecord(b"h", b"r")))
        found = None
        async with asyncio.timeout(10):
            while found is None:
                await asyncio.sleep(0.005)
                found = connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE query = 'COMMIT' AND wait_event = 'PgSleep'"
                ).fetchone()
    with pytest.raises(DatabaseConnectionError, match="unknown"):
        await writing
    assert await store.find_outcome("k") is None
    assert await store.commit(change(0)) == Committed(1)
    await store.close()


async def test_store_taken_by_another_while_cut_off_is_not_written(
    postgres: PostgresServer, owner: str
) -> None:
    go_on, reached = threading.Event(), threading.Event()

    def hold(operations: int, seconds: float) -> None:
        reached.set()
        go_on.wait(10)

    store = await open_store(postgres.address, owner=owner, on_batch=hold)
    first = asyncio.ensure_future(store.commit(change(0)))
    await asyncio.to_thread(reached.wait, 10)
    with psycopg.connect(postgres.address) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = %s",
            (f"onex-grpc {owner}",),
        )
    other = await open_store(postgres.address, owner=owner)
    go_on.set()
    await first
    with pytest.raises(StoreInUseError):
        await store.commit(change(1))
    assert await other.commit(change(1)) == Committed(2)
    await other.close()
    await store.close()
