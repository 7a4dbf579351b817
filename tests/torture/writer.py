"""The process that is killed: it writes all that a store can hold, and notes what it is told."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from onex_grpc.errors import DatabaseConnectionError
from onex_grpc.store import (
    Committed,
    IdempotencyRecord,
    LeaseRequest,
    NewEvent,
    Started,
    Store,
    new_id,
    open_store,
    wall_clock_us,
    workflow_key,
)
from tests.torture.acknowledged import (
    Book,
    Claimed,
    Done,
    Failed,
    Leased,
    Published,
    Recorded,
    Released,
    Saved,
)
from tests.torture.content import change, checksum, failure
from tests.torture.processes import die_with_parent

if TYPE_CHECKING:
    from onex_grpc.store import ClaimedIntent, Commit, LeaseGrant

_log: Final = logging.getLogger(__name__)

HOLDER: Final = "orchestrator/torture"
_TOPIC: Final = "torture"
_WORKER: Final = "effect/torture"
_ENTITIES: Final = 4
_WORKFLOWS: Final = 4
_WORKERS: Final = 2
_MINUTE_US: Final = 60_000_000


class Orders(msgspec.Struct, frozen=True):
    """What a writer is told when it starts."""

    address: str
    owner: str
    book: str
    round: int
    seed: int


def run(orders: Orders) -> None:
    """Writes until it is killed, or until its server is."""
    die_with_parent()
    # That a server which is stopped in the middle is gone, the store rightly says.
    logging.disable(logging.WARNING)
    asyncio.run(_run(orders))


async def _run(orders: Orders) -> None:
    try:
        store = await open_store(orders.address, owner=orders.owner)
        writer = _Writer(store, Book(Path(orders.book)), orders)
        async with asyncio.TaskGroup() as group:
            for number in range(_ENTITIES):
                group.create_task(writer.reduce(f"entity/{number}"))
            for number in range(_WORKFLOWS):
                group.create_task(writer.coordinate(f"w{number}"))
            for number in range(_WORKERS):
                group.create_task(writer.work(f"{_WORKER}/{number}"))
            group.create_task(writer.publish())
            group.create_task(writer.record())
    except* DatabaseConnectionError as lost:
        # The server was stopped under it; what is unknown now was not acknowledged.
        _log.debug("the store is gone: %s", lost)


@dataclass(frozen=True, slots=True)
class _Writer:
    store: Store
    book: Book
    orders: Orders

    async def reduce(self, key: str) -> None:
        """Commits of a reducer: by version, without a lease."""
        chance = self._chance(key)
        version = (await self.store.get_state(key)).version
        while True:
            version += 1
            await self._save(
                change(chance, key=key, version=version, round_number=self.orders.round)
            )

    async def coordinate(self, workflow: str) -> None:
        """Cycles of a lease: taken over from the process before, used, renewed, given back."""
        chance = self._chance(workflow)
        while True:
            lease, version = await self._begin(workflow, chance)
            for _ in range(chance.randrange(4)):
                version = await self._fold(lease, version, chance, release=False)
                if chance.random() < 0.3:
                    await self.store.renew_leases([lease.guard])
            draw = chance.random()
            if draw < 0.4:
                await self._fold(lease, version, chance, release=True)
            elif draw < 0.8:
                await self.store.release_lease(lease.guard)
            else:
                continue
            self.book.note(Released(workflow, lease.fence))

    async def work(self, worker: str) -> None:
        """Claims what waits, and ends it in each way that there is."""
        chance = self._chance(worker)
        # What the process before held.
        await self.store.take_back_intents(worker, ())
        while True:
            claims = await self.store.claim_intents(worker, chance.randint(1, 8), _MINUTE_US)
            for claim in claims:
                self.book.note(Claimed(claim.intent_id, claim.attempt))
            if not claims:
                await self.store.wait_intents(0.05)
            done = [claim for claim in claims if chance.random() < 0.7]
            await self._complete(done)
            for claim in claims:
                if claim not in done:
                    await self._give_back(claim, chance)

    async def publish(self) -> None:
        """Adds events."""
        while True:
            event_id = new_id(wall_clock_us())
            stored = await self.store.publish_event(NewEvent(_TOPIC, event_id, event_id.encode()))
            self.book.note(Published(event_id, stored.sequence))

    async def record(self) -> None:
        """Records failures and outcomes."""
        while True:
            name = new_id(wall_clock_us())
            await self.store.record_failure(failure(name), b"error", None)
            self.book.note(Failed(name))
            await self.store.record_outcome(name, IdempotencyRecord(b"hash", name.encode()))
            self.book.note(Recorded(name))
            await asyncio.sleep(0.002)

    async def _begin(self, workflow: str, chance: random.Random) -> tuple[LeaseGrant, int]:
        request = LeaseRequest(
            workflow, HOLDER, _MINUTE_US, new_id(wall_clock_us()), take_over_own=True
        )
        if chance.random() < 0.5:
            lease = await self.store.acquire_lease(request)
            self.book.note(Leased(workflow, lease.fence))
            return lease, await self._fold(lease, lease.epoch, chance, release=False)
        key = workflow_key(workflow)
        version = (await self.store.get_state(key)).version + 1
        # Its fence is not known yet, so the state does not say it.
        start = change(chance, key=key, version=version, round_number=self.orders.round)
        started = await self.store.acquire_and_start(request, start)
        assert isinstance(started, Started)
        self.book.note(Leased(workflow, started.lease.fence))
        self.book.note(Saved(key, started.version, checksum(start.state)))
        return started.lease, started.version

    async def _fold(
        self, lease: LeaseGrant, version: int, chance: random.Random, *, release: bool
    ) -> int:
        commit = change(
            chance,
            key=workflow_key(lease.workflow_id),
            version=version + 1,
            round_number=self.orders.round,
            guard=lease.guard,
            release=release,
        )
        return await self._save(commit)

    async def _save(self, commit: Commit) -> int:
        committed = await self.store.commit(commit)
        assert isinstance(committed, Committed)
        self.book.note(Saved(commit.key, committed.version, checksum(commit.state)))
        return committed.version

    async def _complete(self, claims: list[ClaimedIntent]) -> None:
        ended = await self.store.complete_intents([claim.claim_token for claim in claims])
        for claim, done in zip(claims, ended, strict=True):
            assert done
            self.book.note(Done(claim.intent_id, dead=False))

    async def _give_back(self, claim: ClaimedIntent, chance: random.Random) -> None:
        draw = chance.random()
        if draw < 0.25:
            await self.store.fail_intent(claim.claim_token, b"error", None)
            self.book.note(Done(claim.intent_id, dead=True))
        elif draw < 0.5:
            await self.store.fail_intent(claim.claim_token, b"error", 10_000)
        elif draw < 0.75:
            await self.store.release_intents([claim.claim_token])
        else:
            await self.store.extend_intents([claim.claim_token], _MINUTE_US)

    def _chance(self, name: str) -> random.Random:
        return random.Random(f"{self.orders.seed}/{name}")  # noqa: S311 - chances, not secrets
