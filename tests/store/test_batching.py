"""Group commit: shared transactions, separate fates."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from onex_grpc.errors import AlreadyExistsError, EpochMismatchError, UnavailableError
from onex_grpc.store import Committed, Replayed, Store
from onex_grpc.store.batcher import MAX_BATCH, Batcher, Outcome
from tests.store.builders import change, intent, over_a_restart, request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.store.conftest import Backend


class Held:
    """Holds the writer thread after its first batch, so that what comes next shares one."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.seconds: list[float] = []
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, operations: int, seconds: float) -> None:
        self.sizes.append(operations)
        self.seconds.append(seconds)
        if len(self.sizes) == 1:
            self.reached.set()
            self.go_on.wait(10)

    async def hold(self, store: Store) -> None:
        await store.get_or_create_secret("first", b"")
        await asyncio.to_thread(self.reached.wait, 10)


async def test_what_waits_shares_one_transaction(backend: Backend) -> None:
    held = Held()
    store = await backend.open(on_batch=held)
    await held.hold(store)
    commits = [asyncio.ensure_future(store.commit(change(0, key=f"k{n}"))) for n in range(50)]
    await asyncio.sleep(0)
    held.go_on.set()
    assert await asyncio.gather(*commits) == [Committed(1)] * 50
    await store.close()
    assert held.sizes == [1, 50]
    assert all(seconds > 0 for seconds in held.seconds)


async def test_one_batch_has_a_limit(backend: Backend) -> None:
    held = Held()
    store = await backend.open(on_batch=held)
    await held.hold(store)
    commits = [
        asyncio.ensure_future(store.commit(change(0, key=f"k{n}"))) for n in range(MAX_BATCH + 1)
    ]
    await asyncio.sleep(0)
    held.go_on.set()
    await asyncio.gather(*commits)
    await store.close()
    assert held.sizes == [1, MAX_BATCH, 1]


async def test_failing_members_do_not_spoil_the_batch(backend: Backend) -> None:
    held = Held()
    store = await backend.open(on_batch=held)
    await held.hold(store)
    members = [
        store.commit(change(0, key="a", intents=(intent("same"),))),
        store.commit(change(7, key="b")),
        # Fails after its state was written in the shared transaction.
        store.commit(change(0, key="c", intents=(intent("fresh"), intent("same")))),
        store.commit(change(0, key="d", intents=(intent("last"),))),
    ]
    running = [asyncio.ensure_future(member) for member in members]
    await asyncio.sleep(0)
    held.go_on.set()
    first, mismatch, duplicate, last = await asyncio.gather(*running, return_exceptions=True)
    assert first == last == Committed(1)
    assert isinstance(mismatch, EpochMismatchError)
    assert isinstance(duplicate, AlreadyExistsError)
    versions = [(await store.get_state(key)).version for key in "abcd"]
    assert versions == [1, 0, 0, 1]
    assert (await store.queue_stats()).pending == 2
    await store.close()
    assert held.sizes == [1, 4]


@over_a_restart
async def test_fences_stay_unique_when_a_batch_runs_again(backend: Backend) -> None:
    held = Held()
    store = await backend.open(on_batch=held)
    await held.hold(store)
    leases = [
        asyncio.ensure_future(store.acquire_lease(request(workflow_id=f"w{n}"))) for n in range(3)
    ]
    bad = asyncio.ensure_future(
        store.commit(change(0, key="c", intents=(intent("same"), intent("same"))))
    )
    await asyncio.sleep(0)
    held.go_on.set()
    granted = await asyncio.gather(*leases)
    with pytest.raises(AlreadyExistsError):
        await bad
    await store.close()
    store = await backend.open()
    later = await store.acquire_lease(request(workflow_id="later"))
    fences = [lease.fence for lease in granted]
    assert len(set(fences)) == 3
    assert later.fence > max(fences)
    await store.close()


async def test_leases_go_before_what_waited_longer(backend: Backend) -> None:
    held = Held()
    store = await backend.open(on_batch=held)
    lease = await store.acquire_lease(request())
    await asyncio.to_thread(held.reached.wait, 10)
    # Full batches stand before the renewal; it must not wait for them.
    done: list[str] = []
    bulk = [
        asyncio.ensure_future(store.commit(change(0, key=f"k{n}"))) for n in range(MAX_BATCH * 2)
    ]
    await asyncio.sleep(0)
    renewal = asyncio.ensure_future(store.renew_lease(lease.guard))
    await asyncio.sleep(0)
    renewal.add_done_callback(lambda _: done.append("renewal"))
    bulk[-1].add_done_callback(lambda _: done.append("bulk"))
    held.go_on.set()
    await asyncio.gather(renewal, *bulk)
    await store.close()
    assert done == ["renewal", "bulk"]


async def test_cancelled_operation_that_has_not_begun_is_not_done(backend: Backend) -> None:
    held = Held()
    store = await backend.open(on_batch=held)
    await held.hold(store)
    given_up = asyncio.ensure_future(store.commit(change(0, key="a")))
    kept = asyncio.ensure_future(store.commit(change(0, key="b")))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.sleep(0)
    held.go_on.set()
    await kept
    assert given_up.cancelled()
    assert (await store.get_state("a")).version == 0
    await store.close()


async def test_close_finishes_what_was_accepted(backend: Backend) -> None:
    held = Held()
    store = await backend.open(on_batch=held)
    await held.hold(store)
    accepted = [asyncio.ensure_future(store.commit(change(0, key=f"k{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    held.go_on.set()
    await closing
    assert await asyncio.gather(*accepted) == [Committed(1)] * 20
    with pytest.raises(UnavailableError):
        await store.commit(change(0, key="late"))
    with pytest.raises(UnavailableError):
        await store.get_state("k0")
    with pytest.raises(UnavailableError):
        await store.queue_stats()
    await store.close()


@over_a_restart
async def test_what_close_finished_is_there_again(backend: Backend) -> None:
    held = Held()
    store = await backend.open(on_batch=held)
    await held.hold(store)
    accepted = asyncio.ensure_future(store.commit(change(0, key="k")))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    held.go_on.set()
    await closing
    assert await accepted == Committed(1)
    store = await backend.open()
    assert (await store.get_state("k")).version == 1
    await store.close()


def test_one_store_serves_several_event_loops(backend: Backend) -> None:
    store = asyncio.run(backend.open())
    failures: list[BaseException] = []

    async def commit_many(key: str) -> None:
        for version in range(20):
            await store.commit(change(version, key=key))

    def run(key: str) -> None:
        try:
            asyncio.run(commit_many(key))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(f"k{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    versions = [asyncio.run(store.get_state(f"k{n}")).version for n in range(4)]
    assert versions == [20] * 4
    asyncio.run(store.close())


def test_caller_whose_loop_is_gone_harms_nobody(backend: Backend) -> None:
    held = Held()
    store = asyncio.run(backend.open(on_batch=held))

    left: list[asyncio.Future[Committed | Replayed]] = []

    async def leave() -> None:
        await held.hold(store)
        left.append(asyncio.ensure_future(store.commit(change(0, key="left"))))
        await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    for task in asyncio.all_tasks(loop):
        task.get_coro().close()
    loop.close()
    held.go_on.set()
    assert asyncio.run(store.commit(change(0, key="next"))) == Committed(1)
    asyncio.run(store.close())


class Breaking:
    """A database whose every batch fails outright."""

    def run(self, operations: Sequence[Callable[[None], object]]) -> Sequence[Outcome]:
        raise OSError("gone")

    def woken(self) -> Sequence[asyncio.Future[None]]:
        return ()

    def close(self) -> Sequence[asyncio.Future[None]]:
        return ()


async def test_writer_outlives_a_database_that_breaks() -> None:
    batcher: Batcher[None] = Batcher(Breaking())
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            await batcher.submit(lambda _: None)
    await batcher.close()


async def test_hook_that_fails_does_not_stop_the_store(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(operations: int, seconds: float) -> None:
        raise ValueError("hook")

    store = await backend.open(on_batch=fails)
    assert await store.commit(change(0)) == Committed(1)
    assert await store.commit(change(1)) == Committed(2)
    await store.close()
    assert "on_batch" in caplog.text
