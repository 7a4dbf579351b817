"""Several processes of one node over one PostgreSQL: who they are, and what they share."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from onex.v1 import common_pb2, operation_pb2
from onex_grpc.contract import data
from onex_grpc.effect.operation import EffectRequest
from onex_grpc.effect.outcomes import Outcomes
from onex_grpc.effect.target import Outcome
from onex_grpc.errors import (
    ConfigurationError,
    DatabaseConnectionError,
    LeaseConflictError,
    NodeUnavailableError,
    OutcomeUnknownError,
    StaleFenceError,
    StoreInUseError,
)
from onex_grpc.store import Committed, NewEvent, Store, open_store
from tests.store.builders import KEY, SECOND, WORKFLOW, change, intent, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.store.conftest import Backend
    from tests.store.server import PostgresServer


@asynccontextmanager
async def replicas(
    postgres: PostgresServer, owner: str, *instances: str
) -> AsyncIterator[list[Store]]:
    """A store for each instance."""
    stores = [
        await open_store(postgres.address, owner=owner, instance=instance) for instance in instances
    ]
    try:
        yield stores
    finally:
        for store in stores:
            await store.close()


async def until_gone(store: Store, instance: str) -> None:
    """Returns when the server has seen that a process has gone."""
    async with asyncio.timeout(5):
        while True:
            if await store.is_gone(instance):
                return
            await asyncio.sleep(0.005)


# Alone


async def test_a_lease_that_is_given_up_wakes_who_waits_for_it(store: Store) -> None:
    lease = await store.acquire_lease(request())
    waiting = asyncio.ensure_future(store.wait_release(WORKFLOW, 30))
    await asyncio.sleep(0)
    await store.release_lease(lease.guard)
    await asyncio.wait_for(waiting, 5)


async def test_a_wait_for_a_lease_ends_in_time(store: Store) -> None:
    await store.acquire_lease(request())
    await asyncio.wait_for(store.wait_release(WORKFLOW, 0.01), 5)


async def test_who_is_alone_has_no_name(backend: Backend) -> None:
    store = await backend.open()
    assert store.instance == ""
    await store.close()


async def test_lease_of_a_holder_that_is_gone_is_taken_over(store: Store) -> None:
    lease = await store.acquire_lease(request("orchestrator/a/1"))
    wish = request("orchestrator/a/2")
    with pytest.raises(LeaseConflictError):
        await store.acquire_lease(replace(wish, take_over_from="orchestrator/a/3"))
    taken = await store.acquire_lease(replace(wish, take_over_from="orchestrator/a/1"))
    assert taken.fence > lease.fence
    with pytest.raises(StaleFenceError):
        await store.commit(change(0, guard=lease.guard))


@pytest.mark.parametrize("kind", ["memory:", "sqlite"])
async def test_store_of_one_process_takes_no_instance(kind: str, tmp_path: Path) -> None:
    address = kind if kind == "memory:" else f"sqlite:///{tmp_path / 'a.db'}"
    with pytest.raises(ConfigurationError, match="instance: pod-0"):
        await open_store(address, owner="reducer/a", instance="pod-0")


# Who is there


async def test_an_instance_is_one_process(postgres: PostgresServer, owner: str) -> None:
    async with replicas(postgres, owner, "pod-0", "pod-1") as (one, other):
        assert (one.instance, other.instance) == ("pod-0", "pod-1")
        with pytest.raises(StoreInUseError, match="instance: pod-0"):
            await open_store(postgres.address, owner=owner, instance="pod-0")


async def test_lock_says_who_is_gone(postgres: PostgresServer, owner: str) -> None:
    async with replicas(postgres, owner, "pod-0") as (here,):
        there = await open_store(postgres.address, owner=owner, instance="pod-1")
        assert not await here.is_gone("pod-1")
        assert not await here.is_gone("pod-0")
        assert await here.is_gone("pod-7")
        # Of another node, it may well be there.
        other = await open_store(postgres.address, owner=owner + "-other", instance="pod-7")
        assert await here.is_gone("pod-7")
        await other.close()
        await there.close()
        await until_gone(here, "pod-1")


async def test_asking_who_is_there_keeps_nobody_out(postgres: PostgresServer, owner: str) -> None:
    async with replicas(postgres, owner, "pod-0", "pod-1") as (one, other):
        for _ in range(20):
            await asyncio.gather(until_gone(one, "pod-2"), until_gone(other, "pod-2"))
            await (await open_store(postgres.address, owner=owner, instance="pod-2")).close()


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
async def test_clock_of_a_process_that_jumps_matters_to_no_lease(
    postgres: PostgresServer, owner: str, step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replicas(postgres, owner, "pod-0", "pod-1") as (here, there):
        lease = await here.acquire_lease(request())
        wall, wall_ns = time.time, time.time_ns
        monkeypatch.setattr(time, "time", lambda: wall() + step)
        monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + int(step * 1e9))
        with pytest.raises(LeaseConflictError) as caught:
            await there.acquire_lease(request("orchestrator/b"))
        assert 0 < (caught.value.retry_after or 0) <= 30
        renewed = await here.renew_lease(lease.guard)
        assert 29 * SECOND < renewed.remaining_us <= 30 * SECOND


# What they tell each other


async def test_end_of_a_lease_wakes_who_waits_elsewhere(
    postgres: PostgresServer, owner: str
) -> None:
    async with replicas(postgres, owner, "pod-0", "pod-1") as (here, there):
        lease = await there.acquire_lease(request())
        waiting = asyncio.ensure_future(here.wait_release(WORKFLOW, 30))
        # The other one hears of it at some time after this; until then its commits tell nothing.
        async with asyncio.timeout(10):
            while not waiting.done():
                written = await there.commit(change(None, guard=lease.guard, release=True))
                assert isinstance(written, Committed)
                lease = await there.acquire_lease(request())
                await asyncio.sleep(0.01)


async def test_event_published_at_one_is_read_at_the_other(
    postgres: PostgresServer, owner: str
) -> None:
    async with replicas(postgres, owner, "pod-0", "pod-1") as (here, there):
        waiting = asyncio.ensure_future(here.wait_events("t", 0))
        await there.publish_event(NewEvent("t", "e", b"payload"))
        await asyncio.wait_for(waiting, 5)
        assert [event.payload for event in await here.read_events("t", 0, 10)] == [b"payload"]


async def test_order_is_kept_over_replicas(postgres: PostgresServer, owner: str) -> None:
    async with replicas(postgres, owner, "pod-0", "pod-1") as stores:

        async def emit(store: Store, name: str) -> None:
            await store.commit(
                change(
                    0, key=f"reducer/{name}", intents=(intent(name, order_key=name.split("-")[0]),)
                )
            )

        names = [f"{key}-{number}" for number in range(20) for key in "ab"]
        await asyncio.gather(*(emit(stores[number % 2], name) for number, name in enumerate(names)))
        done: list[str] = []
        flying: set[str] = set()

        async def work(store: Store, worker: str) -> None:
            while len(done) < len(names):
                claimed = await store.claim_intents(worker, 3, 60 * SECOND)
                keys = [one.payload.decode().split("-")[0] for one in claimed]
                # Never two of one order_key at a time, through whichever process.
                assert len(set(keys)) == len(keys)
                assert not flying & set(keys)
                flying.update(keys)
                await asyncio.sleep(0)
                for one, key in zip(claimed, keys, strict=True):
                    flying.discard(key)
                    done.append(one.payload.decode())
                    await store.complete_intents([one.claim_token])

        async with asyncio.timeout(30):
            await asyncio.gather(
                *(work(store, f"effect/w/{number}") for number, store in enumerate(stores))
            )
        assert sorted(done) == sorted(names)


# Effects that must not be repeated


def effect(key: str = "k") -> EffectRequest:
    """A keyed effect."""
    return EffectRequest(
        target="bank",
        operation=operation_pb2.EffectOperation(),
        key=key,
        correlation_id="c",
        content_hash=b"hash",
    )


async def test_effect_under_way_elsewhere_is_not_begun_again(
    postgres: PostgresServer, owner: str
) -> None:
    async with replicas(postgres, owner, "pod-0", "pod-1") as (one, other):
        await Outcomes(one).begin(effect())
        with pytest.raises(NodeUnavailableError, match="pod-0"):
            await Outcomes(other).begin(effect())
        done = Outcome(common_pb2.Data())
        await Outcomes(one).record(effect(), done)
        replayed = await Outcomes(other).find(effect())
        assert replayed is not None
        assert replayed.replayed


async def test_effect_of_a_process_that_is_gone_is_unknown(
    postgres: PostgresServer, owner: str
) -> None:
    async with replicas(postgres, owner, "pod-0") as (here,):
        there = await open_store(postgres.address, owner=owner, instance="pod-1")
        await Outcomes(there).begin(effect())
        await there.close()
        await until_gone(here, "pod-1")
        with pytest.raises(OutcomeUnknownError):
            await Outcomes(here).begin(effect())


async def test_effect_done_by_a_process_that_has_gone_since_gives_its_outcome(
    postgres: PostgresServer, owner: str
) -> None:
    async with replicas(postgres, owner, "pod-0") as (here,):
        there = await open_store(postgres.address, owner=owner, instance="pod-1")
        await Outcomes(there).begin(effect())
        done = data.pack("done")
        # Looked at here before it is recorded there, and begun after that process has ended.
        assert await Outcomes(here).find(effect()) is None
        await Outcomes(there).record(effect(), Outcome(done))
        await there.close()
        await until_gone(here, "pod-1")
        begun = await Outcomes(here).begin(effect())
        assert begun == Outcome(done, replayed=True)


async def test_effect_begun_at_once_by_many_is_begun_once(
    postgres: PostgresServer, owner: str
) -> None:
    async with replicas(postgres, owner, "pod-0", "pod-1", "pod-2") as stores:
        for number in range(20):
            begun = await asyncio.gather(
                *(Outcomes(store).begin(effect(f"k{number}")) for store in stores),
                return_exceptions=True,
            )
            assert begun.count(1) == 1
            refused = [one for one in begun if one != 1]
            assert all(isinstance(one, NodeUnavailableError) for one in refused)


async def test_newer_holder_met_by_one_is_known_to_all(
    postgres: PostgresServer, owner: str
) -> None:
    async with replicas(postgres, owner, "pod-0", "pod-1") as (one, other):
        old = (await one.acquire_lease(request())).guard
        callee_old, callee_new = replace(old, fence=5), replace(old, fence=6, lease_id="new")
        callee = replace(callee_old, workflow_id="elsewhere")
        await one.raise_guard(callee)
        await other.raise_guard(replace(callee_new, workflow_id="elsewhere"))
        with pytest.raises(StaleFenceError):
            await one.raise_guard(callee)


# A server that is down


async def test_server_that_comes_up_is_waited_for(own_postgres: PostgresServer, owner: str) -> None:
    own_postgres.halt()
    opening = asyncio.ensure_future(open_store(own_postgres.address, owner=owner, patience=30))
    await asyncio.sleep(0)
    # Not in a thread: the server would end with it.
    own_postgres.start()
    store = await asyncio.wait_for(opening, 20)
    assert (await store.get_state(KEY)).version == 0
    await store.close()


async def test_server_that_stays_down_is_told_in_time(
    own_postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    own_postgres.halt()
    with pytest.raises(DatabaseConnectionError):
        await asyncio.wait_for(open_store(own_postgres.address, patience=0.5), 10)
    assert caplog.messages[0].startswith("waiting up to 0.5 s for it")


async def test_database_that_is_absent_is_not_waited_for(postgres: PostgresServer) -> None:
    address = postgres.address.replace("/postgres?", "/absent?")
    with pytest.raises(DatabaseConnectionError, match="absent"):
        await asyncio.wait_for(open_store(address, patience=60), 10)
