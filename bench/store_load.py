"""What the benchmark of the store does: four operations, through the store's own door."""

from __future__ import annotations

import itertools
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from onex_grpc.store import Commit, Exact, LeaseRequest, NewIntent
from onex_grpc.store.keys import workflow_key

if TYPE_CHECKING:
    from onex_grpc.store import Guard, Store

OPERATIONS: Final = ("reducer_commit", "lease_cycle", "epoch_cas", "claim_complete")
KEYS: Final = 800
STATE: Final = bytes(range(200)) + bytes(100)
STATE_TYPE: Final = "bench.State"
PAYLOAD: Final = bytes(range(240))
TTL_US: Final = 30_000_000
DEPTH: Final = 12_000
"""So many intents wait when a stretch of claims begins."""
_FILL: Final = 500

_RUN: Final = time.time_ns() // 1_000_000
_numbers = itertools.count()


def new_intents(count: int) -> tuple[NewIntent, ...]:
    """Intents of all priorities; their ids are new and, as those of the mesh, in order of time."""
    made = (next(_numbers) for _ in range(count))
    return tuple(
        NewIntent(f"{_RUN:012x}-{number:023x}", number % 5 + 1, 5, PAYLOAD, "bench")
        for number in made
    )


@dataclass(slots=True)
class _Held:
    """A key that no other caller works on, its version, and the lease over it if it needs one."""

    name: str
    version: int = 0
    guard: Guard | None = None


class StoreLoad:
    """The four operations on one store. Callers take keys in turn, so that none waits for a key."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._free = deque(_Held(f"bench-{number}") for number in range(KEYS))
        self._waiting = 0
        self._fills = itertools.count()

    async def prepare(self, operation: str) -> None:
        """Makes what a stretch of the operation needs: leases that last, or intents that wait."""
        if operation == "epoch_cas":
            for held in self._free:
                request = self._request(held, ttl_us=3_600_000_000)
                held.guard = held.guard or (await self._store.acquire_lease(request)).guard
        if operation == "claim_complete":
            while self._waiting < DEPTH:
                change = Commit("fill", Exact(next(self._fills)), b"", STATE_TYPE)
                await self._store.commit(replace(change, intents=new_intents(_FILL)))
                self._waiting += _FILL

    async def reducer_commit(self) -> None:
        """State, history and three intents, at the expected version."""
        held = self._free.popleft()
        change = Commit(
            key=held.name,
            expect=Exact(held.version),
            state=STATE,
            state_type=STATE_TYPE,
            kind="BENCH",
            intents=new_intents(3),
        )
        await self._store.commit(change)
        held.version += 1
        self._free.append(held)

    async def lease_cycle(self) -> None:
        """Acquire, renew, release: three transactions."""
        held = self._free.popleft()
        lease = await self._store.acquire_lease(self._request(held, TTL_US))
        await self._store.renew_lease(lease.guard)
        await self._store.release_lease(lease.guard)
        self._free.append(held)

    async def epoch_cas(self) -> None:
        """State and history of a workflow, under its lease and at the expected epoch."""
        held = self._free.popleft()
        key = workflow_key(held.name)
        await self._store.commit(
            Commit(key, Exact(held.version), STATE, STATE_TYPE, guard=held.guard, kind="BENCH")
        )
        held.version += 1
        self._free.append(held)

    async def claim_complete(self) -> None:
        """One intent claimed, and completed: two transactions."""
        self._waiting -= 1
        (claimed,) = await self._store.claim_intents("effect/bench", 1, TTL_US)
        (done,) = await self._store.complete_intents([claimed.claim_token])
        if not done:
            raise RuntimeError("a claim was lost")

    def _request(self, held: _Held, ttl_us: int) -> LeaseRequest:
        return LeaseRequest(held.name, "orchestrator/bench", ttl_us, str(next(_numbers)))
