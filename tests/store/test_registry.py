"""The processes that serve the nodes of the mesh."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
import pytest

from onex_grpc.errors import StoreInUseError, UnavailableError
from onex_grpc.store import NodeEntry, PurgePosition, Retention, Store
from onex_grpc.store.postgres.connection import schema_of
from tests.store.builders import SECOND, over_a_restart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.store.builders import ManualClock
    from tests.store.conftest import Backend

OLD_ROWS: Final = (
    "INSERT INTO secret (name, value) VALUES ('key', {a})",
    "INSERT INTO outcome (key, content_hash, reply, recorded_us) VALUES ('done', {a}, {a}, 1)",
    "INSERT INTO intent (intent_id, state, priority, rank_us, timed_us, attempts, max_attempts, "
    "claim, worker, order_key, created_us, correlation_id, traceparent, payload, last_error) "
    "VALUES ('id', 1, 3, 0, 0, 0, 3, '', '', '', 1, '', '', {a}, {a})",
)


def node(
    name: str = "reducer/orders",
    instance: str = "",
    *,
    store_id: str = "s1",
    registrar: str = "here",
    payload: bytes = b"payload",
) -> NodeEntry:
    """A process that serves a node."""
    return NodeEntry(name, instance, store_id, registrar, payload)


async def refused(store: Store, entry: NodeEntry) -> dict[str, str]:
    """The context with which an entry is refused."""
    with pytest.raises(StoreInUseError) as caught:
        await store.register_node(entry)
    return caught.value.context


async def test_nobody_is_registered_at_first(store: Store) -> None:
    found = await store.list_nodes()
    assert (found.revision, list(found.entries)) == (0, [])


async def test_all_are_listed_by_node_and_instance(store: Store, clock: ManualClock) -> None:
    entries = [
        node("reducer/orders", "b"),
        node("reducer/orders", "B"),
        node("effect/mail", store_id="", registrar="elsewhere"),
        node("reducer/orders", "é"),
        node("reducer/orders", ""),
    ]
    for entry in entries:
        kept = await store.register_node(entry)
        assert kept == replace(entry, registered_us=clock.now_us)
    found = await store.list_nodes()
    names = [(each.node, each.instance) for each in found.entries]
    assert names == [
        ("effect/mail", ""),
        *(("reducer/orders", instance) for instance in ("", "B", "b", "é")),
    ]
    assert found.entries[0] == replace(entries[2], registered_us=clock.now_us)
    assert found.revision == len(entries)


async def test_same_process_is_replaced_and_keeps_its_time(
    store: Store, clock: ManualClock
) -> None:
    first = await store.register_node(node())
    clock.forward(5)
    moved = replace(node(registrar="there", payload=b"new"), registered_us=7)
    assert await store.register_node(moved) == replace(moved, registered_us=first.registered_us)
    found = await store.list_nodes()
    assert list(found.entries) == [replace(moved, registered_us=first.registered_us)]
    assert found.revision == 2
    await store.unregister_node("reducer/orders", "", "there")
    assert (await store.register_node(node())).registered_us == clock.now_us


async def test_same_words_again_are_no_change(store: Store) -> None:
    first = await store.register_node(node())
    assert await store.register_node(node()) == first
    assert (await store.list_nodes()).revision == 1


@pytest.mark.parametrize(("there", "comes"), [("s1", "s2"), ("s1", ""), ("", "s1")])
async def test_other_store_of_the_same_node_is_refused(
    store: Store, there: str, comes: str
) -> None:
    await store.register_node(node(instance="a", store_id=there, registrar="first"))
    expected = {
        "node": "reducer/orders",
        "instance": "a",
        "registrar": "first",
        "store_id": there,
    }
    assert await refused(store, node(instance="b", store_id=comes)) == expected
    # Also in its own place, which is that of another process by mistake.
    assert await refused(store, node(instance="a", store_id=comes)) == expected
    await store.register_node(node("reducer/stock", store_id=comes))
    found = await store.list_nodes()
    assert [each.instance for each in found.entries] == ["a", ""]
    assert found.revision == 2
    await store.unregister_node("reducer/orders", "a", "first")
    await store.register_node(node(instance="b", store_id=comes))


async def test_refusal_says_who_is_there_and_what_to_do(store: Store) -> None:
    await store.register_node(node(instance="first", payload=b"10.0.0.1:50051"))
    with pytest.raises(StoreInUseError, match=r"reducer/orders.*'first'.*set `store`") as caught:
        await store.register_node(node(instance="second", store_id="s2"))
    assert "10.0.0.1" not in str(caught.value)


async def test_of_two_stores_at_once_one_gets_in(store: Store) -> None:
    outcomes = await asyncio.gather(
        *(store.register_node(node(instance=str(n), store_id=f"s{n % 2}")) for n in range(8)),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, StoreInUseError) for outcome in outcomes) == 4
    found = await store.list_nodes()
    assert {each.store_id for each in found.entries} in ({"s0"}, {"s1"})
    assert (len(found.entries), found.revision) == (4, 4)


async def test_only_its_registrar_removes_a_process(store: Store) -> None:
    await store.register_node(node(instance="a", registrar="there"))
    assert not await store.unregister_node("reducer/orders", "a", "here")
    assert not await store.unregister_node("reducer/orders", "b", "there")
    assert not await store.unregister_node("reducer/stock", "a", "there")
    assert (await store.list_nodes()).revision == 1
    assert await store.unregister_node("reducer/orders", "a", "there")
    assert not await store.unregister_node("reducer/orders", "a", "there")
    found = await store.list_nodes()
    assert (found.revision, list(found.entries)) == (2, [])


async def test_all_of_a_registrar_are_forgotten(store: Store) -> None:
    for instance in "abc":
        await store.register_node(node(instance=instance, registrar="there"))
    await store.register_node(node(instance="d"))
    assert await store.forget_nodes("nobody") == 0
    assert (await store.list_nodes()).revision == 4
    assert await store.forget_nodes("there") == 3
    found = await store.list_nodes()
    assert [each.instance for each in found.entries] == ["d"]
    assert found.revision == 5


async def test_wait_ends_with_the_next_change(store: Store) -> None:
    changes: Sequence[Callable[[], Awaitable[object]]] = [
        lambda: store.register_node(node(registrar="there")),
        lambda: store.register_node(node(registrar="there", payload=b"new")),
        lambda: store.unregister_node("reducer/orders", "", "there"),
        lambda: store.register_node(node()),
        lambda: store.forget_nodes("here"),
    ]
    for number, change in enumerate(changes):
        waiting = asyncio.create_task(store.wait_nodes(number))
        await store.list_nodes()
        assert not waiting.done()
        await change()
        await asyncio.wait_for(waiting, 5)
        assert (await store.list_nodes()).revision == number + 1


async def test_wait_does_not_miss_what_came_before_it(store: Store) -> None:
    await store.register_node(node())
    await asyncio.wait_for(store.wait_nodes(0), 5)


async def test_every_watcher_sees_the_last_change(store: Store) -> None:
    async def watch() -> int:
        found = await store.list_nodes()
        while len(found.entries) < 20:
            await store.wait_nodes(found.revision)
            newer = await store.list_nodes()
            assert newer.revision > found.revision
            assert len(newer.entries) == newer.revision
            found = newer
        return found.revision

    watchers = [asyncio.create_task(watch()) for _ in range(3)]
    for number in range(20):
        await store.register_node(node(instance=str(number)))
    assert await asyncio.wait_for(asyncio.gather(*watchers), 20) == [20] * 3


async def test_closing_ends_open_waits(backend: Backend) -> None:
    store = await backend.open()
    waiting = asyncio.create_task(store.wait_nodes(0))
    await store.list_nodes()
    await store.close()
    with pytest.raises(UnavailableError):
        await asyncio.wait_for(waiting, 5)


@over_a_restart
async def test_registry_outlives_a_restart(backend: Backend, clock: ManualClock) -> None:
    store = await backend.open()
    kept = await store.register_node(node())
    await store.register_node(node(instance="gone"))
    await store.unregister_node("reducer/orders", "gone", "here")
    await store.close()
    clock.forward(60)
    store = await backend.open()
    found = await store.list_nodes()
    assert (found.revision, list(found.entries)) == (3, [kept])
    assert await store.forget_nodes("here") == 1
    await store.close()
    store = await backend.open()
    assert (await store.list_nodes()).revision == 4
    await store.register_node(node())
    assert (await store.list_nodes()).revision == 5
    await store.close()


def make_schema_2(backend: Backend) -> None:
    """A store as the version before the registry has left it."""
    if backend.address.startswith("sqlite"):
        path = Path(backend.address.removeprefix("sqlite:///"))
        path.parent.mkdir()
        connection = sqlite3.connect(path)
        for script in first_scripts("sqlite"):
            connection.executescript(script)
        for statement in OLD_ROWS:
            connection.execute(statement.format(a="x'61'"))
        connection.execute("PRAGMA application_id = 0x4F4E4558")
        connection.execute("PRAGMA user_version = 2")
        connection.commit()
        connection.close()
        return
    schema = schema_of(backend.owner)
    with psycopg.connect(backend.address) as server:
        server.execute(f'CREATE SCHEMA "{schema}"'.encode())
        server.execute("SELECT set_config('search_path', %s, false)", (f'"{schema}"',))
        server.execute("CREATE TABLE onex_schema (number integer PRIMARY KEY)")
        server.execute("INSERT INTO onex_schema VALUES (1), (2)")
        for script in first_scripts("postgres"):
            server.execute(script.encode())
        for statement in OLD_ROWS:
            server.execute(statement.format(a="'a'").encode())


def first_scripts(kind: str) -> Sequence[str]:
    """The first two migrations."""
    folder = resources.files(f"onex_grpc.store.{kind}") / "migrations"
    names = sorted(entry.name for entry in folder.iterdir())[:2]
    return [(folder / name).read_text(encoding="utf-8") for name in names]


@over_a_restart
async def test_store_of_the_schema_before_is_migrated(backend: Backend) -> None:
    make_schema_2(backend)
    for _ in range(2):
        store = await backend.open()
        assert await store.get_or_create_secret("key", b"other") == b"a"
        outcome = await store.find_outcome("done")
        assert outcome is not None
        assert outcome.reply == b"a"
        await store.register_node(node())
        assert (await store.list_nodes()).revision == 1
        # What was emitted before there were routes is for whoever comes.
        (claimed,) = await store.claim_intents("effect/w", 9, SECOND, ("custom/a.Message",))
        assert claimed.payload == b"a"
        await store.release_intents([claimed.claim_token])
        await store.close()


async def test_housekeeping_leaves_the_registry_alone(store: Store, clock: ManualClock) -> None:
    kept = await store.register_node(node())
    before = await store.list_nodes()
    clock.forward(10 * 365 * 86400)
    position = PurgePosition()
    for _ in range(20):
        purged = await store.purge(
            Retention(SECOND, SECOND, SECOND, 1, SECOND, SECOND), position, 9
        )
        position = purged.position
        if purged.done:
            break
    assert purged.done
    assert await store.list_nodes() == before
    assert list(before.entries) == [kept]
