"""Streams and waits whose time is limited."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from onex_grpc.errors import OnexError

T = TypeVar("T")


class Limit:
    """The time of one piece of work, from now on.

    Args:
        seconds: how long it may take; None for any time.
        late: makes the error for its end.
    """

    def __init__(self, seconds: float | None, late: Callable[[], OnexError]) -> None:
        self._end = None if seconds is None else asyncio.get_running_loop().time() + seconds
        self._late = late

    @asynccontextmanager
    async def bind(self) -> AsyncGenerator[None, None]:
        """Cuts off what is awaited in the block, and raises the error, when the time is over."""
        try:
            async with asyncio.timeout_at(self._end) as timeout:
                yield
        except TimeoutError:
            if not timeout.expired():
                raise
            raise self._late() from None


async def bounded(source: AsyncGenerator[T, None], limit: Limit) -> AsyncGenerator[T, None]:
    """What a source yields while the time lasts; the source ends with it."""
    try:
        while True:
            # Around each step: a limit around a yield would strike whoever takes the results.
            async with limit.bind():
                try:
                    item = await anext(source)
                except StopAsyncIteration:
                    return
            yield item
    finally:
        await source.aclose()
