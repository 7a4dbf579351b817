"""What one client does with one workflow: takes, uses, forgets and misuses leases over it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from tests.torture.register import Result

if TYPE_CHECKING:
    from tests.torture.recorder import Held, Recorder

_GAP: Final = 0.16
_LOST: Final = (Result.STALE, Result.EXPIRED)


class Contender:
    """Goes on until its time is up, never looking at whether a lease still runs."""

    def __init__(self, calls: Recorder, callee: Recorder) -> None:
        """Takes a callee's register of the same workflow, too: it is written under the same leases,
        which its store did not issue.
        """
        self._calls = calls
        self._callee = callee
        self._chance = calls.chance
        self._ttl = calls.ttl_us / 1e6
        self._held: Held | None = None
        self._former: Held | None = None

    async def run(self, until_ns: int) -> None:
        """Contends until that time of the monotonic clock; reads once more at the end."""
        # Not all at once: the first calls of hundreds of workflows would wait for one another.
        await asyncio.sleep(self._chance.uniform(0, 4 * _GAP))
        while time.monotonic_ns() < until_ns:
            if self._held is None:
                await self._without(until_ns)
            else:
                await self._under(self._held)
            await asyncio.sleep(self._chance.expovariate(1 / _GAP))
        await self._calls.read()
        await self._callee.read()

    async def _without(self, until_ns: int) -> None:
        draw = self._chance.random()
        if self._former is not None and draw < 0.2:
            await self._somewhere().write(self._former, exact=draw < 0.08)
        elif draw < 0.3:
            await self._somewhere().read()
        elif draw < 0.35:
            await self._somewhere().look()
        else:
            self._held, wait = await self._calls.acquire()
            left = (until_ns - time.monotonic_ns()) / 1e9
            await asyncio.sleep(max(0.0, min(wait * self._chance.uniform(0.3, 1.1), left)))

    async def _under(self, held: Held) -> None:
        draw = self._chance.random()
        if draw < 0.45:
            await self._write(held, exact=draw < 0.2)
        elif draw < 0.6:
            # Held back on its way, often until the lease has gone.
            await asyncio.sleep(self._chance.uniform(0.3, 1.5) * self._ttl)
            await self._write(held, exact=draw < 0.5)
        elif draw < 0.72:
            self._judge(held, await self._calls.renew(held))
        elif draw < 0.8:
            await self._calls.release(held)
            self._drop(held)
        elif draw < 0.92:
            # As a holder that died: nobody else may have it before the ttl is over.
            self._drop(held)
        else:
            await self._somewhere().read()

    async def _write(self, held: Held, *, exact: bool) -> None:
        self._judge(held, await self._somewhere().write(held, exact=exact))

    def _somewhere(self) -> Recorder:
        return self._callee if self._chance.random() < 0.3 else self._calls

    def _judge(self, held: Held, result: Result) -> None:
        # Some go on all the same.
        if result in _LOST and self._chance.random() < 0.7:
            self._drop(held)

    def _drop(self, held: Held) -> None:
        self._former, self._held = held, None
