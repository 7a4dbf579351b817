"""What only a PostgreSQL store does: several writers, a server that goes away, notices."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from contextlib import AsyncExitStack
from importlib import resources
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from onex_grpc.errors import (
    ConfigurationError,
    DatabaseConnectionError,
    LeaseConflictError,
    LeaseExpiredError,
    OnexError,
    StaleFenceError,
    StoreInUseError,
)
from onex_grpc.store import (
    Checkpoint,
    Committed,
    Exact,
    FenceOnly,
    Guard,
    IdempotencyRecord,
    IntentState,
    NewEvent,
    PurgePosition,
    Replayed,
    Retention,
    Rollback,
    open_store,
)
from onex_grpc.store.postgres import PostgresStore, open_postgres
from onex_grpc.store.postgres.clock import ServerClock
from onex_grpc.store.postgres.connection import Connector, schema_of
from tests.store.builders import KEY, SECOND, WORKFLOW, action, change, intent, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from onex_grpc.store import Store
    from tests.store.server import PostgresServer


@pytest.fixture
async def pair(postgres: PostgresServer, owner: str) -> AsyncIterator[tuple[Store, Store]]:
    """The same store, opened as two processes open it that do not own it alone."""
    async with AsyncExitStack() as opened:
        stores = []
        for _ in range(2):
            store = await open_postgres(postgres.address, schema=owner)
            opened.push_async_callback(store.close)
            stores.append(store)
        yield stores[0], stores[1]


@pytest.fixture
def rival(postgres: PostgresServer, owner: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Another program's transaction on the tables of `pair`."""
    with psycopg.connect(postgres.address) as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", (f'"{owner}"',))
        connection.commit()
        yield connection


async def blocked(rival: psycopg.Connection[tuple[object, ...]]) -> None:
    """Returns when another session waits for a lock of `rival`."""
    question = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
    async with asyncio.timeout(10):
        while True:
            found = rival.execute(question, (rival.info.backend_pid,)).fetchone()
            if found is not None and found[0]:
                return
            await asyncio.sleep(0.005)


# Traps


async def test_fence_is_checked_under_the_lock_of_its_row(
    pair: tuple[Store, Store], rival: psycopg.Connection[tuple[object, ...]]
) -> None:
    store, _ = pair
    lease = await store.acquire_lease(request())
    rival.execute("UPDATE workflow SET fence = fence + 1, lease_id = 'taken over'")
    writing = asyncio.ensure_future(store.commit(change(0, guard=lease.guard)))
    await blocked(rival)
    rival.commit()
    with pytest.raises(StaleFenceError):
        await writing
    assert (await store.get_state(KEY)).version == 0


async def test_first_guard_of_a_workflow_is_checked_against_a_rival(
    pair: tuple[Store, Store], rival: psycopg.Connection[tuple[object, ...]]
) -> None:
    store, _ = pair
    rival.execute("INSERT INTO workflow VALUES (%s, 7, 'newer')", (WORKFLOW,))
    writing = asyncio.ensure_future(store.commit(change(0, guard=Guard(WORKFLOW, "older", 6))))
    await blocked(rival)
    rival.commit()
    with pytest.raises(StaleFenceError):
        await writing


async def test_time_goes_on_while_a_lock_is_waited_for(
    pair: tuple[Store, Store], rival: psycopg.Connection[tuple[object, ...]]
) -> None:
    store, _ = pair
    lease = await store.acquire_lease(request(ttl_us=SECOND // 2))
    rival.execute("SELECT * FROM workflow FOR UPDATE")
    renewing = asyncio.ensure_future(store.renew_lease(lease.guard))
    await blocked(rival)
    rival.execute("SELECT pg_sleep(0.6)")
    rival.commit()
    with pytest.raises(LeaseExpiredError):
        await renewing


async def test_repeat_that_met_its_own_first_run_is_replayed(
    pair: tuple[Store, Store], rival: psycopg.Connection[tuple[object, ...]]
) -> None:
    one, other = pair
    await one.commit(change(0, b"first"))
    same = change(1, b"second", actions=(action("a"),), reply=b"reply")
    rival.execute("SELECT * FROM state FOR UPDATE")
    running = [asyncio.ensure_future(store.commit(same)) for store in (one, other)]
    await blocked(rival)
    rival.commit()
    outcomes = await asyncio.gather(*running)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Committed", "Replayed"]
    assert (await one.get_state(KEY)).version == 2


async def test_same_new_action_on_two_stores_is_executed_once(pair: tuple[Store, Store]) -> None:
    for number in range(20):
        same = change(0, key=f"k{number}", actions=(action(f"a{number}"),), reply=b"reply")
        outcomes = await asyncio.gather(*(store.commit(same) for store in pair))
        assert sorted(type(outcome) is Replayed for outcome in outcomes) == [False, True]


async def test_reader_of_events_misses_none(pair: tuple[Store, Store]) -> None:
    async def publish(store: Store, name: str) -> None:
        for number in range(50):
            await store.publish_event(NewEvent("t", f"{name}{number}", b""))

    async def follow() -> int:
        after = seen = 0
        while seen < 100:
            await pair[0].wait_events("t", after)
            for event in await pair[0].read_events("t", after, 7):
                after = event.sequence
                seen += 1
        return seen

    following = asyncio.ensure_future(follow())
    await asyncio.gather(publish(pair[0], "a"), publish(pair[1], "b"))
    assert await asyncio.wait_for(following, 20) == 100


async def test_two_stores_claim_each_intent_once(pair: tuple[Store, Store]) -> None:
    await pair[0].commit(change(0, intents=tuple(intent(str(n)) for n in range(200))))
    claims = await asyncio.gather(
        *(pair[n % 2].claim_intents(f"effect/{n}", 7, 60 * SECOND) for n in range(40))
    )
    assert all(len(claim) <= 7 for claim in claims)
    taken = [claim.intent_id for batch in claims for claim in batch]
    assert sorted(taken) == sorted(f"id-{n}" for n in range(200))


async def test_counts_of_two_stores_add_up(pair: tuple[Store, Store]) -> None:
    async def work(store: Store, number: int) -> None:
        for step in range(10):
            name = f"{number}.{step}"
            await store.commit(change(None, key=f"o{number}", intents=(intent(name),)))
            claims = await store.claim_intents(f"effect/{number}", 2, SECOND)
            done = claims[: len(claims) - step % 2]
            await store.complete_intents([claim.claim_token for claim in done])
            for claim in claims[len(done) :]:
                await store.fail_intent(claim.claim_token, b"", None)
            if step == 5:
                await store.redrive_dead(1)

    await asyncio.gather(*(work(store, number) for number, store in enumerate(pair * 2)))
    stats = await pair[0].queue_stats()
    assert await pair[1].queue_stats() == stats
    shown = {
        state: len(await pair[0].list_intents(state, 0, 1000))
        for state in (IntentState.PENDING, IntentState.IN_FLIGHT, IntentState.DEAD)
    }
    assert (stats.pending, stats.in_flight, stats.dead) == tuple(shown.values())
    assert stats.completed == len(await pair[0].list_intents(IntentState.COMPLETED, 0, 1000))


async def test_dead_intents_are_redriven_once_by_two_stores(pair: tuple[Store, Store]) -> None:
    await pair[0].commit(change(0, intents=tuple(intent(str(n)) for n in range(20))))
    for claim in await pair[0].claim_intents("effect/a", 20, SECOND):
        await pair[0].fail_intent(claim.claim_token, b"", None)
    redriven = await asyncio.gather(*(store.redrive_dead(20) for store in pair * 3))
    assert sum(redriven) == 20
    claims = await pair[1].claim_intents("effect/b", 30, SECOND)
    assert [claim.redrives for claim in claims] == [1] * 20


async def test_rollback_and_commits_of_two_stores_take_turns(pair: tuple[Store, Store]) -> None:
    one, two = pair
    await one.commit(change(0, b"first"))
    await one.checkpoint(Checkpoint(KEY, "first", Exact(1)))
    outcomes = await asyncio.gather(
        *(one.rollback(Rollback(KEY, "first", FenceOnly())) for _ in range(5)),
        *(two.commit(change(None, b"other")) for _ in range(5)),
        *(two.checkpoint(Checkpoint(KEY, "first", Exact(1))) for _ in range(3)),
        return_exceptions=True,
    )
    versions = sorted(one.version for one in outcomes[:10] if isinstance(one, Committed))
    assert versions == list(range(2, 12))
    entries = await one.list_history(KEY, 0, 100)
    assert sorted(entry.state for entry in entries) == [b"first"] * 6 + [b"other"] * 5


async def test_two_stores_purge_side_by_side(pair: tuple[Store, Store]) -> None:
    for version in range(30):
        await pair[0].commit(change(version, actions=(action(str(version), scope="reducer/o"),)))
    rules = Retention(history_us=0, actions_us=0)
    await asyncio.gather(*(store.purge(rules, PurgePosition(), 100) for store in pair * 2))
    assert [entry.version for entry in await pair[1].list_history(KEY, 0, 100)] == [30]
    assert len(await pair[1].list_actions("reducer/o", 0, 100)) == 1


async def test_order_key_never_blocks_for_ever_between_two_stores(
    pair: tuple[Store, Store],
) -> None:
    async def emit() -> None:
        for number in range(60):
            await pair[0].commit(
                change(None, key="o", intents=(intent(str(number), order_key="o"),))
            )

    emitting = asyncio.ensure_future(emit())
    served: list[str] = []
    async with asyncio.timeout(20):
        while len(served) < 60:
            for claimed in await pair[1].claim_intents("effect/w", 5, 60 * SECOND):
                served.append(claimed.payload.decode())
                await pair[1].complete_intents([claimed.claim_token])
    await emitting
    assert served == [str(number) for number in range(60)]


async def test_fences_grow_over_two_stores(pair: tuple[Store, Store]) -> None:
    fences = []
    for number in range(10):
        lease = await pair[number % 2].acquire_lease(request())
        await pair[number % 2].release_lease(lease.guard)
        fences.append(lease.fence)
    assert fences == sorted(set(fences))


async def test_one_holder_at_a_time_over_two_stores(pair: tuple[Store, Store]) -> None:
    for number in range(20):
        wishes = [
            store.acquire_lease(request(f"orchestrator/{n}", workflow_id=f"w{number}"))
            for n, store in enumerate(pair)
        ]
        outcomes = await asyncio.gather(*wishes, return_exceptions=True)
        assert sum(isinstance(outcome, LeaseConflictError) for outcome in outcomes) == 1


async def test_opposite_orders_end_without_a_failure(pair: tuple[Store, Store]) -> None:
    leases = [await pair[0].acquire_lease(request(workflow_id=f"w{n}")) for n in range(20)]
    guards = [lease.guard for lease in leases]
    commits = [
        store.commit(change(None, key=f"k{n}", guard=guard))
        for store, order in ((pair[0], guards), (pair[1], guards[::-1]))
        for n, guard in enumerate(order)
    ]
    renewals = [
        store.renew_leases(guards[::step]) for store, step in zip(pair, (1, -1), strict=True)
    ]
    assert all(type(done) is Committed for done in await asyncio.gather(*commits))
    assert all(grant is not None for many in await asyncio.gather(*renewals) for grant in many)


def test_time_that_steps_back_is_made_up_for_once() -> None:
    first, second = ServerClock(None), ServerClock(None)
    assert not any(first.step_back(0, 0, 1000 * SECOND))
    assert not any(second.step_back(0, 0, 1001 * SECOND))
    offset, wall, known = first.step_back(1001 * SECOND, 0, 401 * SECOND)
    assert (wall, known) == (401 * SECOND, 0)
    for clock in (first, second):
        assert not any(clock.step_back(wall, offset, 402 * SECOND))
        assert 1001 * SECOND < clock.now_us < 1003 * SECOND


# Notices


async def wakes(emitter: Store, worker: Store, name: str) -> None:
    """Returns once an intent of one store has woken a waiting worker of the other."""
    assert await worker.claim_intents("effect/w", 1, SECOND) == []
    waiting = asyncio.ensure_future(worker.wait_intents(None))
    await asyncio.sleep(0)
    await emitter.commit(change(0, key=name, intents=(intent(name),)))
    await asyncio.wait_for(waiting, 5)
    (claimed,) = await worker.claim_intents("effect/w", 1, SECOND)
    assert await worker.complete_intents([claimed.claim_token]) == [True]


async def test_intents_of_one_store_wake_the_other(pair: tuple[Store, Store]) -> None:
    await wakes(pair[0], pair[1], "a")
    await wakes(pair[1], pair[0], "b")


async def test_whoever_is_left_wakes_whoever_comes(
    pair: tuple[Store, Store], postgres: PostgresServer, owner: str
) -> None:
    for gone in pair:
        await gone.close()
        async with AsyncExitStack() as opened:
            third = await open_postgres(postgres.address, schema=owner)
            opened.push_async_callback(third.close)
            fourth = await open_postgres(postgres.address, schema=owner)
            opened.push_async_callback(fourth.close)
            await wakes(third, fourth, f"a{id(gone)}")
            await wakes(fourth, third, f"b{id(gone)}")
            if gone is pair[0]:
                await wakes(pair[1], third, f"c{id(gone)}")
                await wakes(fourth, pair[1], f"d{id(gone)}")


async def test_only_a_store_in_company_tells_what_it_commits(
    pair: tuple[Store, Store], rival: psycopg.Connection[tuple[object, ...]], owner: str
) -> None:
    channel = Connector.parse("postgresql://", owner, "").channel
    rival.autocommit = True
    rival.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
    await pair[0].commit(change(0, intents=(intent("a"),)))
    assert [each.payload for each in rival.notifies(timeout=5, stop_after=1)] == ['ready [""]']
    await pair[1].close()
    # The server ends a session some time after the client has.
    company = "(hashtextextended(%s, 5))"
    rival.execute(f"SELECT pg_advisory_lock{company}", (channel,))
    rival.execute(f"SELECT pg_advisory_unlock{company}", (channel,))
    await pair[0].commit(change(1, intents=(intent("b"),)))
    rival.execute("SELECT pg_notify(%s, 'end')", (channel,))
    assert [each.payload for each in rival.notifies(timeout=5, stop_after=1)] == ["end"]


async def test_claim_of_a_store_that_vanishes_wakes_the_other(pair: tuple[Store, Store]) -> None:
    assert await pair[1].claim_intents("effect/w", 1, SECOND) == []
    await pair[0].commit(change(0, intents=(intent("a"),)))
    assert len(await pair[0].claim_intents("effect/v", 1, SECOND // 2)) == 1
    async with asyncio.timeout(5):
        while not (claims := await pair[1].claim_intents("effect/w", 1, 60 * SECOND)):
            await pair[1].wait_intents(None)
    assert claims[0].attempt == 2


@pytest.mark.parametrize("topic", ["orders", "long" * 2000])
async def test_events_of_one_store_wake_the_other(pair: tuple[Store, Store], topic: str) -> None:
    waiting = asyncio.ensure_future(pair[1].wait_events(topic, 0))
    await pair[0].publish_event(NewEvent(topic, "e", b""))
    await asyncio.wait_for(waiting, 5)


# Whose store it is


async def test_second_process_of_a_node_is_refused(postgres: PostgresServer, owner: str) -> None:
    store = await open_store(postgres.address, owner=owner)
    with pytest.raises(StoreInUseError, match=owner):
        await open_store(postgres.address, owner=owner)
    await store.close()
    await (await open_store(postgres.address, owner=owner)).close()


async def test_nodes_do_not_see_each_other(postgres: PostgresServer, owner: str) -> None:
    one = await open_store(postgres.address, owner=owner)
    other = await open_store(postgres.address, owner=owner + "-other")
    await one.commit(change(0))
    assert (await other.get_state(KEY)).version == 0
    await one.close()
    await other.close()


def test_long_names_stay_apart() -> None:
    names = {schema_of("reducer/" + "x" * 80 + end) for end in "ab"}
    assert len(names) == 2
    assert all(len(name.encode()) <= 63 for name in names)


async def test_many_that_open_at_once_migrate_once(postgres: PostgresServer, owner: str) -> None:
    stores = await asyncio.gather(
        *(open_postgres(postgres.address, schema=owner) for _ in range(8))
    )
    assert await stores[0].commit(change(0)) == Committed(1)
    await asyncio.gather(*(store.close() for store in stores))


async def test_many_that_open_an_older_store_migrate_it_once(
    postgres: PostgresServer, owner: str
) -> None:
    folder = resources.files("onex_grpc.store.postgres") / "migrations"
    first = (folder / "0001_store.sql").read_text(encoding="utf-8")
    with psycopg.connect(postgres.address) as connection:
        connection.execute(f'CREATE SCHEMA "{owner}"'.encode())
        connection.execute("SELECT set_config('search_path', %s, false)", (f'"{owner}"',))
        connection.execute(first.encode())
        connection.execute("CREATE TABLE onex_schema (number integer PRIMARY KEY)")
        connection.execute("INSERT INTO onex_schema VALUES (1)")
        connection.execute("INSERT INTO outcome VALUES ('a', '', 'reply', 1)")
        for number, state in enumerate((1, 2, 3, 5, 5, 6), start=1):
            connection.execute(
                "INSERT INTO intent (intent_id, state, priority, rank_us, timed_us, attempts, "
                "max_attempts, claim, worker, order_key, created_us, correlation_id, traceparent, "
                "payload, last_error) "
                "VALUES (%s, %s, 3, 0, 0, 0, 3, '', '', '', 1, '', '', '', '')",
                (str(number), state),
            )
    stores = await asyncio.gather(
        *(open_postgres(postgres.address, schema=owner) for _ in range(4))
    )
    stats = await stores[0].queue_stats()
    assert (stats.pending, stats.in_flight, stats.completed, stats.dead) == (2, 1, 2, 1)
    outcome = await stores[1].find_outcome("a")
    assert outcome is not None
    assert outcome.reply == b"reply"
    await asyncio.gather(*(store.close() for store in stores))


async def test_newer_schema_is_refused(postgres: PostgresServer, owner: str) -> None:
    await (await open_postgres(postgres.address, schema=owner)).close()
    with psycopg.connect(postgres.address) as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", (f'"{owner}"',))
        connection.execute("INSERT INTO onex_schema VALUES (999)")
    with pytest.raises(ConfigurationError, match="999"):
        await open_postgres(postgres.address, schema=owner)


async def test_schema_of_another_program_is_refused(postgres: PostgresServer, owner: str) -> None:
    with psycopg.connect(postgres.address) as connection:
        connection.execute(f'CREATE SCHEMA "{owner}" CREATE TABLE theirs (x int)'.encode())
    with pytest.raises(ConfigurationError, match="another program"):
        await open_postgres(postgres.address, schema=owner)


@pytest.mark.parametrize(
    "address", ["postgresql://u:hunter2@h/db?no_such_option=1", "postgresql://u:hunter2@h:port/db"]
)
async def test_address_that_cannot_be_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(OnexError) as caught:
        await open_store(address)
    assert "hunter2" not in str(caught.value)


WITHOUT_PSYCOPG = """
import asyncio, sys
sys.modules["psycopg"] = None
from onex_grpc.errors import ConfigurationError
from onex_grpc.store import open_store
try:
    asyncio.run(open_store("postgresql://h/db"))
except ConfigurationError as error:
    print(error.message)
"""


def test_missing_driver_is_named() -> None:
    command = [sys.executable, "-c", WITHOUT_PSYCOPG]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    assert "onex-grpc[postgres]" in said


async def test_server_that_is_down_at_start_is_told(own_postgres: PostgresServer) -> None:
    own_postgres.halt()
    with pytest.raises(DatabaseConnectionError):
        await open_store(own_postgres.address)


# A server that goes away


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
