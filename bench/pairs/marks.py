"""A side's half of a pair: callers that go on until they are stopped, counted at any moment."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING

from bench.answering import answer_lines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


class Marks:
    """The answers to `prepare FIGURE`, `start CALLERS`, `mark` and `stop`.

    A mark is the number of calls done, and the time.
    """

    def __init__(
        self, find: Callable[[str], Awaitable[Callable[[int], Awaitable[object]]]]
    ) -> None:
        """Take what finds a call, which gets the number of its caller, by the figure's name."""
        self._find = find
        self._call: Callable[[int], Awaitable[object]] = _nothing
        self._callers: list[asyncio.Task[None]] = []
        self._done = 0

    async def answer(self, words: Sequence[str]) -> str:
        """Return the answer to a line."""
        match words:
            case ["prepare", figure]:
                self._call = await self._find(figure)
                gc.collect()
                return "prepared"
            case ["start", concurrency]:
                self._callers = [
                    asyncio.create_task(self._go_on(caller)) for caller in range(int(concurrency))
                ]
                return "started"
            case ["mark"]:
                at = time.perf_counter()
                self._raise_failure()
                return f"{self._done} {at}"
            case ["stop"]:
                callers, self._callers = self._callers, []
                await asyncio.gather(*callers)
                return "stopped"
            case _:
                raise ValueError(f"unknown: {words}")

    async def _go_on(self, caller: int) -> None:
        while self._callers:
            await self._call(caller)
            self._done += 1

    def _raise_failure(self) -> None:
        for caller in self._callers:
            if caller.done():
                caller.result()


async def _nothing(caller: int) -> object:
    raise RuntimeError(f"caller {caller} has nothing to do: `prepare` comes first")


async def answer_marks(
    find: Callable[[str], Awaitable[Callable[[int], Awaitable[object]]]],
) -> None:
    """Answer until the parent closes the pipe."""
    await answer_lines(Marks(find).answer)
