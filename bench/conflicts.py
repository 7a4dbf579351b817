"""The loss of 64 callers beside one that is refused each time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from statistics import median
from typing import TYPE_CHECKING, Final

from bench.closed_loop import Slice, closed_loop
from bench.store_load import STATE, STATE_TYPE, StoreLoad, new_intents
from onex_grpc.errors import AlreadyExistsError, EpochMismatchError
from onex_grpc.store import ActionRecord, Commit, Exact, FenceOnly, Guard, NewIntent

if TYPE_CHECKING:
    from onex_grpc.store import Store

CALLERS: Final = 64
CONFLICTS: Final = ("version", "intent_id")
_SECONDS: Final = 0.3


class Beside:
    """One kind of refusal on one store, and the rates of those who commit."""

    def __init__(self, store: Store, conflict: str) -> None:
        self.alone: list[Slice] = []
        self.beside: list[Slice] = []
        self._store = store
        self._load = StoreLoad(store)
        self._conflict = conflict
        self._used: tuple[NewIntent, ...] = ()
        self._turn = 0

    async def warm_up(self) -> None:
        """Makes what is in conflict, and fills caches."""
        self._used = new_intents(1)
        await self._store.commit(Commit("used", FenceOnly(), STATE, STATE_TYPE, intents=self._used))
        await self._measure_alone()
        await self._measure_beside()

    async def measure(self) -> None:
        """A stretch of each; which is first changes from round to round."""
        self._turn += 1
        if self._turn % 2:
            self.alone.append(await self._measure_alone())
            self.beside.append(await self._measure_beside())
        else:
            self.beside.append(await self._measure_beside())
            self.alone.append(await self._measure_alone())

    def ratio(self) -> float:
        """The rate beside a refused one, divided by that without; the median of the rounds."""
        return median(
            _rate(beside) / _rate(alone)
            for beside, alone in zip(self.beside, self.alone, strict=True)
        )

    async def _measure_alone(self) -> Slice:
        return await closed_loop(self._load.reducer_commit, CALLERS, _SECONDS)

    async def _measure_beside(self) -> Slice:
        refused = asyncio.ensure_future(self._be_refused())
        try:
            return await self._measure_alone()
        finally:
            refused.cancel()
            with suppress(asyncio.CancelledError):
                await refused

    async def _be_refused(self) -> None:
        number = 0
        while True:
            number += 1
            with suppress(EpochMismatchError, AlreadyExistsError):
                await self._store.commit(self._refused(f"{self._turn}-{number}"))
                raise RuntimeError(f"the conflict of {self._conflict} was not refused")

    def _refused(self, name: str) -> Commit:
        """A change by a new action, under a lease that the store has not heard of: what it would
        write is more than what is in conflict.
        """
        intents, expect = new_intents(3), Exact(1_000_000)
        if self._conflict == "intent_id":
            intents, expect = intents[1:] + self._used, Exact(0)
        return Commit(
            key=f"refused-{name}",
            expect=expect,
            state=STATE,
            state_type=STATE_TYPE,
            guard=Guard(f"refused-{name}", "lease", 1),
            kind="BENCH",
            intents=intents,
            actions=(ActionRecord(f"refused-{name}", name, b"", 1, "bench", "", 0),),
        )


def _rate(taken: Slice) -> float:
    return len(taken.latencies) / taken.seconds
