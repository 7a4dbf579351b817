"""One registry in PostgreSQL that several processes change and watch."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

import pytest
from psycopg import sql

from onex_grpc.errors import StoreInUseError
from onex_grpc.store import NodeEntry, open_store
from onex_grpc.store.postgres.connection import Connector
from tests.store.rivals import Rival, blocked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from onex_grpc.store import Store
    from tests.store.server import PostgresServer

ORDERS: Final = "reducer/orders"

PEER = """
import asyncio, sys
from onex_grpc.store import NodeEntry, open_store

async def main():
    store = await open_store(sys.argv[1], owner=sys.argv[2], instance="peer")
    print("open", flush=True)
    await store.wait_nodes(0)
    (found,) = (await store.list_nodes()).entries
    print(found.instance, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await store.register_node(NodeEntry("reducer/orders", "second", "s1", "peer", b""))
    await store.close()

asyncio.run(main())
"""


def process(instance: str, store_id: str = "s1", registrar: str = "here") -> NodeEntry:
    """A process of the orders' reducer."""
    return NodeEntry(ORDERS, instance, store_id, registrar, b"")


def insert(rival: Rival, entry: NodeEntry) -> None:
    """Registers a process as a store would, without a word to anybody."""
    rival.execute("UPDATE registry SET revision = revision + 1")
    rival.execute(
        "INSERT INTO node VALUES (%s, %s, %s, %s, %s, 7)",
        (entry.node, entry.instance, entry.store_id, entry.registrar, entry.payload),
    )


async def test_each_change_of_one_store_wakes_the_other(pair: tuple[Store, Store]) -> None:
    changes: Sequence[Callable[[Store], Awaitable[object]]] = (
        lambda store: store.register_node(process("a")),
        lambda store: store.unregister_node(ORDERS, "a", "here"),
        lambda store: store.register_node(process("b")),
        lambda store: store.forget_nodes("here"),
    )
    for changer, watcher in (pair, pair[::-1]):
        for change in changes:
            before = (await watcher.list_nodes()).revision
            waiting = asyncio.ensure_future(watcher.wait_nodes(before))
            await change(changer)
            await asyncio.wait_for(waiting, 5)
            assert (await watcher.list_nodes()).revision == before + 1


async def test_two_processes_see_each_other(postgres: PostgresServer, owner: str) -> None:
    pipe = asyncio.subprocess.PIPE
    store = await open_store(postgres.address, owner=owner, instance="first")
    command = [sys.executable, "-c", PEER, postgres.address, owner]
    peer = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert peer.stdin is not None
    assert peer.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert await peer.stdout.readline() == b"open\n"
            await store.register_node(process("first"))
            assert await peer.stdout.readline() == b"first\n"
            waiting = asyncio.ensure_future(store.wait_nodes(1))
            peer.stdin.write(b"go on\n")
            await waiting
            assert await peer.wait() == 0
    finally:
        if peer.returncode is None:
            peer.kill()
        await peer.communicate()
    found = await store.list_nodes()
    assert [(each.instance, each.registrar) for each in found.entries] == [
        ("first", "here"),
        ("second", "peer"),
    ]
    await store.close()


async def test_revisions_are_seen_in_their_order(pair: tuple[Store, Store]) -> None:
    async def watch(store: Store) -> None:
        found = await store.list_nodes()
        while found.revision < 60:
            await store.wait_nodes(found.revision)
            newer = await store.list_nodes()
            assert newer.revision > found.revision
            assert len(newer.entries) == newer.revision
            found = newer

    watchers = [asyncio.ensure_future(watch(store)) for store in pair]
    await asyncio.gather(
        *(pair[number % 2].register_node(process(str(number))) for number in range(60))
    )
    await asyncio.wait_for(asyncio.gather(*watchers), 20)


async def test_of_two_nodes_with_stores_of_their_own_one_gets_in(
    pair: tuple[Store, Store],
) -> None:
    for number in range(10):
        node = f"reducer/{number}"
        outcomes = await asyncio.gather(
            *(
                store.register_node(NodeEntry(node, "", store_id, "here", b""))
                for store, store_id in zip(pair, ("s1", "s2"), strict=True)
            ),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, StoreInUseError) for outcome in outcomes) == 1
        assert sum(isinstance(outcome, NodeEntry) for outcome in outcomes) == 1


async def test_other_stores_are_looked_for_under_the_lock(
    pair: tuple[Store, Store], rival: Rival
) -> None:
    insert(rival, process("a", "s2"))
    registering = asyncio.ensure_future(pair[0].register_node(process("b")))
    await blocked(rival)
    rival.commit()
    with pytest.raises(StoreInUseError):
        await registering
    assert (await pair[0].list_nodes()).revision == 1


async def test_call_that_repeats_one_without_an_answer_wakes_who_waits(
    pair: tuple[Store, Store], rival: Rival
) -> None:
    calls: Sequence[Callable[[], Awaitable[object]]] = (
        lambda: pair[0].register_node(process("a")),
        lambda: pair[0].unregister_node("reducer/gone", "a", "here"),
        lambda: pair[0].forget_nodes("nobody"),
    )
    for number, again in enumerate(calls):
        waiting = asyncio.ensure_future(pair[0].wait_nodes(number))
        # Until its look at the present revision has been answered.
        await pair[0].list_nodes()
        insert(rival, process("abc"[number]))
        rival.commit()
        await again()
        await asyncio.wait_for(waiting, 5)


async def test_topic_of_the_registry_is_told_to_company_only(
    pair: tuple[Store, Store], rival: Rival, owner: str
) -> None:
    channel = Connector.parse("postgresql://", owner, "").channel
    rival.autocommit = True
    rival.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
    await pair[0].register_node(process("a"))
    assert [each.payload for each in rival.notifies(timeout=5, stop_after=1)] == ["topic \tnodes"]
    await pair[0].register_node(process("a"))
    await pair[1].close()
    # The server ends a session some time after the client has.
    company = "(hashtextextended(%s, 5))"
    rival.execute(f"SELECT pg_advisory_lock{company}", (channel,))
    rival.execute(f"SELECT pg_advisory_unlock{company}", (channel,))
    await pair[0].register_node(process("b"))
    rival.execute("SELECT pg_notify(%s, 'end')", (channel,))
    assert [each.payload for each in rival.notifies(timeout=5, stop_after=1)] == ["end"]
