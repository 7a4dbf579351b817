"""Replicas that lose one connection and keep the others: nobody waits for what was not told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, LiteralString

import psycopg
import pytest

from onex_grpc.errors import DatabaseConnectionError, LeaseConflictError
from onex_grpc.store import Committed, LeaseGrant, Replayed, Store, open_store
from onex_grpc.store.postgres.connection import Connector, schema_of
from onex_grpc.workflow.instances import Instances
from tests.store.builders import KEY, SECOND, action, change, intent, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.store.server import PostgresServer

Rival = psycopg.Connection[tuple[object, ...]]


@asynccontextmanager
async def replicas(server: PostgresServer, owner: str, number: int) -> AsyncIterator[list[Store]]:
    """The stores of `pod-0`, `pod-1` and so on."""
    stores = [
        await open_store(server.address, owner=owner, instance=f"pod-{each}")
        for each in range(number)
    ]
    try:
        yield stores
    finally:
        for store in stores:
            await store.close()


def cut(rival: Rival, name: str, which: Literal["listener", "writer", "all"]) -> int:
    """Ends connections of an instance, as a network does; returns how many."""
    found = rival.execute(
        "SELECT pid, query LIKE 'SELECT pg_%%advisory_lock%%' FROM pg_stat_activity "
        "WHERE application_name = %s",
        (f"onex-grpc {name}",),
    ).fetchall()
    pids = [pid for pid, listens in found if which in ("all", "listener" if listens else "writer")]
    rival.execute("SELECT pg_terminate_backend(pid, 5000) FROM unnest(%s::int[]) AS pid", (pids,))
    return len(pids)


async def until(rival: Rival, condition: LiteralString) -> None:
    """Returns when the server says so."""
    async with asyncio.timeout(10):
        while True:
            if rival.execute(condition).fetchone() == (True,):
                return
            await asyncio.sleep(0.005)


async def until_it_is(store: Store, instance: str, *, gone: bool) -> None:
    """Returns when the store says so."""
    async with asyncio.timeout(5):
        while True:
            if await store.is_gone(instance) is gone:
                return
            await asyncio.sleep(0.005)


async def parked(store: Store) -> asyncio.Future[None]:
    """A wait for intents that nothing but news ends."""
    while True:
        assert await store.claim_intents("effect/w", 1, 60 * SECOND) == []
        waiting = asyncio.ensure_future(store.wait_intents(None))
        # What was ready a moment ago ends it at once.
        await asyncio.wait((waiting,), timeout=0.05)
        if not waiting.done():
            return waiting


@pytest.mark.parametrize("lost", [0, 1])
async def test_what_is_committed_while_a_listener_is_cut_off_is_told_later(
    own_postgres: PostgresServer, owner: str, lost: int
) -> None:
    async with replicas(own_postgres, owner, 2) as stores:
        deaf, other = stores[lost], stores[1 - lost]
        waits = [await parked(other), asyncio.ensure_future(other.wait_events("t", 0))]
        with psycopg.connect(own_postgres.address) as rival:
            # Nobody can connect meanwhile.
            rival.execute("LOCK TABLE pg_catalog.pg_authid IN ACCESS EXCLUSIVE MODE")
            assert cut(rival, f"{owner} pod-{lost}", "listener") == 1
            assert await deaf.commit(change(0, intents=(intent("a"),))) == Committed(1)
        await asyncio.wait_for(waits[0], 5)
        assert len(await other.claim_intents("effect/w", 1, SECOND)) == 1
        waits[1].cancel()


async def test_what_a_lost_answer_committed_wakes_who_waits(
    own_postgres: PostgresServer, owner: str
) -> None:
    async with replicas(own_postgres, owner, 1) as (store,):
        waiting = await parked(store)
        first = change(0, intents=(intent("a"),), actions=(action("a"),))
        with psycopg.connect(own_postgres.address, autocommit=True) as rival:
            # The server commits, and never gets to say so.
            rival.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            rival.execute("SELECT pg_reload_conf()")
            await until(rival, "SELECT current_setting('synchronous_standby_names') = 'nobody'")
            writing = asyncio.ensure_future(store.commit(first))
            await until(
                rival,
                "SELECT bool_or(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE wait_event = 'SyncRep'",
            )
            with pytest.raises(DatabaseConnectionError, match="unknown"):
                await writing
            rival.execute("ALTER SYSTEM RESET synchronous_standby_names")
            rival.execute("SELECT pg_reload_conf()")
        await asyncio.wait_for(waiting, 5)
        assert isinstance(await store.commit(first), Replayed)
        assert len(await store.claim_intents("effect/w", 2, SECOND)) == 1


async def test_idle_process_that_was_cut_off_soon_shows_that_it_is_there(
    postgres: PostgresServer, owner: str
) -> None:
    async with replicas(postgres, owner, 2) as (here, _):
        with psycopg.connect(postgres.address) as rival:
            cut(rival, f"{owner} pod-1", "all")
        await until_it_is(here, "pod-1", gone=False)


@pytest.mark.parametrize("lost", ["listener", "writer"])
async def test_process_that_lost_one_connection_is_there(
    postgres: PostgresServer, owner: str, lost: Literal["listener", "writer"]
) -> None:
    async with replicas(postgres, owner, 2) as (here, there):
        with psycopg.connect(postgres.address) as rival:
            assert cut(rival, f"{owner} pod-1", lost) == 1
        for _ in range(20):
            assert not await here.is_gone("pod-1")
        assert await there.commit(change(0)) == Committed(1)
        assert not await here.is_gone("pod-1")


async def test_who_stands_still_in_a_transaction_fails_nobody(
    postgres: PostgresServer, owner: str
) -> None:
    async with replicas(postgres, owner, 1) as (store,):
        await store.commit(change(0))
        connector = Connector.parse(postgres.address, schema_of(owner), owner, "pod-9")
        stopped = await asyncio.to_thread(connector.connect_writer)
        # As a process that was stopped between two statements.
        stopped.execute("BEGIN")
        stopped.execute("SELECT FROM state WHERE key = %s FOR UPDATE", (KEY,))
        assert await store.commit(change(1)) == Committed(2)
        stopped.close()


async def test_lease_of_a_process_that_died_is_taken_once(
    postgres: PostgresServer, owner: str
) -> None:
    async with replicas(postgres, owner, 3) as stores:
        died = await open_store(postgres.address, owner=owner, instance="died")
        names = [f"w{number}" for number in range(20)]
        for name in names:
            await died.acquire_lease(request(f"{owner}/died", workflow_id=name))
        await died.close()
        await until_it_is(stores[0], "died", gone=True)
        rivals = [Instances(store, owner) for store in stores]
        for name in names:
            taken = await asyncio.gather(
                *(
                    one.acquire(request(one.holder, request_id=one.holder, workflow_id=name))
                    for one in rivals
                ),
                return_exceptions=True,
            )
            (won,) = [each for each in taken if isinstance(each, LeaseGrant)]
            lost = [each for each in taken if isinstance(each, LeaseConflictError)]
            assert [each.context["holder"] for each in lost] == [won.holder] * 2
