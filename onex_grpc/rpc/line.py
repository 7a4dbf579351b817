"""One channel, the calls that are in flight on it, and its end when it is replaced."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast

from onex_grpc.rpc.direct import DirectCalls, DirectUnary

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

C = TypeVar("C")
_FIRST_LOOK: Final = 1.0
_LONGEST_PAUSE: Final = 30.0


class _RawCall(Protocol):
    """A call of grpc.aio."""

    def add_done_callback(self, callback: Callable[[object], None]) -> None: ...


class Line:
    """A channel, and its calls in flight.

    Attributes:
        channel: what calls are made on.
        direct: unary methods that pass grpc.aio by.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.direct = DirectCalls()
        self._calls: set[object] = set()

    @property
    def busy(self) -> bool:
        """Whether a call that was counted, or a direct one, has not ended."""
        return bool(self._calls) or self.direct.busy

    def counted(self, method: C) -> C:
        """A method of the channel whose calls are counted."""
        if isinstance(method, DirectUnary):
            return method
        begin, calls = cast("Callable[..., _RawCall]", method), self._calls

        def counting(*arguments: object, **named: object) -> _RawCall:
            call = begin(*arguments, **named)
            calls.add(call)
            call.add_done_callback(calls.discard)
            return call

        return cast("C", counting)

    async def close(self) -> None:
        """Closes the channel; calls in flight fail."""
        self.direct.cancel()
        await self.channel.close()


class Retired:
    """Lines that were replaced: closed as soon as their last call has ended."""

    def __init__(self) -> None:
        self._lines: dict[asyncio.Task[None], Line] = {}

    def add(self, line: Line) -> None:
        """Lets a line's calls in flight go on, and then closes it."""
        closing = asyncio.get_running_loop().create_task(_close_when_idle(line))
        self._lines[closing] = line
        closing.add_done_callback(lambda task: self._lines.pop(task, None))

    async def close(self) -> None:
        """Closes all lines now; calls in flight fail."""
        lines, self._lines = dict(self._lines), {}
        for closing in lines:
            closing.cancel()
        await asyncio.gather(*lines, return_exceptions=True)
        for line in lines.values():
            await line.close()


async def _close_when_idle(line: Line) -> None:
    pause = _FIRST_LOOK
    await asyncio.sleep(pause)
    while line.busy:
        # Long streams are looked at seldom.
        pause = min(pause * 2, _LONGEST_PAUSE)
        await asyncio.sleep(pause)
    await line.close()
