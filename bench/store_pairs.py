"""One operation of the store and its bare counterpart, measured in turns."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Final, Protocol

from bench.closed_loop import Slice, closed_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.store_load import StoreLoad

CONCURRENCY: Final = {"c1": 1, "c32": 32, "c128": 128}
BARE: Final = "bare"


class Bare(Protocol):
    """The operations one by one; each is a method of its name."""

    def prepare(self, operation: str) -> None:
        """Makes what a stretch of the operation needs."""
        ...


class Pair:
    """One operation on one back end: the store's, and the bare one."""

    def __init__(self, operation: str, load: StoreLoad, bare: Bare) -> None:
        self.slices: dict[str, list[Slice]] = {name: [] for name in (BARE, *CONCURRENCY)}
        self._operation = operation
        self._load = load
        self._bare = bare

    async def warm_up(self, seconds: float) -> None:
        """Fills caches and prepares statements."""
        await self._round(seconds)

    async def measure(self, seconds: float) -> None:
        """One slice of each."""
        for name, taken in (await self._round(seconds)).items():
            self.slices[name].append(taken)

    def ratios(self) -> dict[str, float]:
        """The store's rate by callers, divided by the bare one of the same round; the median."""
        return {
            name: median(
                _rate(ours) / _rate(bare)
                for ours, bare in zip(self.slices[name], self.slices[BARE], strict=True)
            )
            for name in CONCURRENCY
        }

    async def _round(self, seconds: float) -> dict[str, Slice]:
        self._bare.prepare(self._operation)
        taken = {BARE: one_by_one(getattr(self._bare, self._operation), seconds)}
        for name, callers in CONCURRENCY.items():
            await self._load.prepare(self._operation)
            taken[name] = await closed_loop(getattr(self._load, self._operation), callers, seconds)
        return taken


def one_by_one(call: Callable[[], None], seconds: float) -> Slice:
    """Runs calls in a row for about `seconds`, without an event loop in between."""
    latencies: list[float] = []
    began = start = time.perf_counter()
    while start < began + seconds:
        call()
        end = time.perf_counter()
        latencies.append(end - start)
        start = end
    return Slice(start - began, latencies)


def _rate(taken: Slice) -> float:
    return len(taken.latencies) / taken.seconds
