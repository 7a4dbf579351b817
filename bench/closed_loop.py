"""A closed loop: so many callers, each with one call under way at a time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


@dataclass(frozen=True, slots=True)
class Figures:
    """Rate and latencies of one run, or of several taken together."""

    per_s: float
    p50_ms: float
    p99_ms: float

    def as_json(self) -> dict[str, float]:
        """Rounded for people."""
        return {
            "per_s": round(self.per_s, 1),
            "p50_ms": round(self.p50_ms, 2),
            "p99_ms": round(self.p99_ms, 2),
        }


@dataclass(frozen=True, slots=True)
class Slice:
    """One measured stretch: how long it took, and each call's seconds."""

    seconds: float
    latencies: Sequence[float]


async def closed_loop(
    call: Callable[[], Awaitable[object]], concurrency: int, seconds: float
) -> Slice:
    """Runs `concurrency` callers for about `seconds`; every call that began is waited for."""
    latencies: list[float] = []
    began = time.perf_counter()
    end = began + seconds

    async def caller() -> None:
        while (start := time.perf_counter()) < end:
            await call()
            latencies.append(time.perf_counter() - start)

    await asyncio.gather(*(caller() for _ in range(concurrency)))
    return Slice(time.perf_counter() - began, latencies)


def figures(slices: Sequence[Slice]) -> Figures:
    """The median of the slices' rates; median and 99th percentile of all their calls."""
    latencies = sorted(latency for each in slices for latency in each.latencies)
    return Figures(
        per_s=median(len(each.latencies) / each.seconds for each in slices),
        p50_ms=latencies[len(latencies) // 2] * 1e3,
        p99_ms=latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)] * 1e3,
    )
