"""What every call of a process goes through, whichever transport it came by."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from google.protobuf.message import Message

from onex_grpc.context import CallContext
from onex_grpc.errors import NodeUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.telemetry import Telemetry

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a service.

    Attributes:
        path: as HTTP/2 has it, `/onex.v1.X/Y`.
        request_streaming: whether the client sends a stream.
        response_streaming: whether the server sends a stream.
        name: the full name as traces have it, `onex.v1.X/Y`.
        service: the full name of the service, `onex.v1.X`.
    """

    path: str
    request_streaming: bool = False
    response_streaming: bool = False
    name: str = field(init=False)
    service: str = field(init=False)

    def __post_init__(self) -> None:
        # Read several times a call.
        object.__setattr__(self, "name", self.path[1:])
        object.__setattr__(self, "service", self.path[1:].partition("/")[0])


Admit = Callable[[CallContext, Method], Awaitable[None] | None]
"""A check of who may call: raises an OnexError to refuse; None means admitted at once."""

Answer = Awaitable[Message] | AsyncIterator[Message] | Awaitable[None]
Handler = Callable[..., Answer]
"""A servicer's method: (request or iterator of requests, context) -> response or responses."""

Middleware = Callable[[Method, Handler], Handler]
"""Wraps a method's handler once, when it is registered; the first of several is the outermost."""


class Load(NamedTuple):
    """The calls that ended within the last minute."""

    finished: int
    failed: int

    @property
    def error_rate(self) -> float:
        """Share of the calls that failed by the server's fault; 0.0 without any call."""
        return self.failed / self.finished if self.finished else 0.0


class _LastMinute:
    """Counts of ended calls; what is done per call is an addition and a comparison."""

    SECONDS: Final = 60

    def __init__(self) -> None:
        self.finished = 0
        self.failed = 0
        self.next_mark = 0.0
        # (second, finished, failed): the totals as they were when the second began.
        self._marks: deque[tuple[int, int, int]] = deque()

    def mark(self, now: float) -> None:
        """Notes the totals at the beginning of a second and forgets what is older than a minute."""
        second = int(now)
        self.next_mark = second + 1.0
        self._marks.append((second, self.finished, self.failed))
        while self._marks[0][0] <= second - self.SECONDS:
            self._marks.popleft()

    def load(self, now: float) -> Load:
        """The counts since the first second that is less than a minute ago."""
        self.mark(now)
        _, finished, failed = self._marks[0]
        return Load(self.finished - finished, self.failed - failed)


class CallRuntime:
    """Who serves, and what each call goes through: admissions, middleware, telemetry, counting.

    Attributes:
        node: the node as `kind/name`, named in errors.
        telemetry: where spans and durations go.
        admissions: checks of who may call, in their order.
        middleware: what wraps each handler, outermost first.
        in_flight: calls whose handlers have not ended.
        standing: those of them that only wait, for as long as their clients are there.
        draining: whether new calls are refused.
        on_room: called when a call has ended or only waits from now on; None where nobody asks.
    """

    def __init__(
        self,
        *,
        node: str,
        telemetry: Telemetry,
        admissions: Sequence[Admit] = (),
        middleware: Sequence[Middleware] = (),
    ) -> None:
        self.node = node
        self.telemetry = telemetry
        self.admissions = tuple(admissions)
        self.middleware = tuple(middleware)
        self.in_flight = 0
        self.standing = 0
        self.draining = False
        self.on_room: Callable[[], None] | None = None
        self._minute = _LastMinute()
        self._idle = asyncio.Event()
        self._leaving = asyncio.Event()

    @contextmanager
    def stand(self) -> Iterator[None]:
        """Takes the running call for one that only waits: it uses up no limit of calls."""
        self.standing += 1
        if self.on_room is not None:
            self.on_room()
        try:
            yield
        finally:
            self.standing -= 1

    @property
    def active(self) -> int:
        """Calls in flight that do more than wait."""
        return self.in_flight - self.standing

    def begin(self) -> None:
        """Counts a call in."""
        self.in_flight += 1

    def finish(self, now: float, *, failed: bool) -> None:
        """Counts a call out.

        Args:
            now: seconds of time.monotonic().
            failed: whether it failed by the server's fault.
        """
        self.in_flight -= 1
        minute = self._minute
        if now >= minute.next_mark:
            minute.mark(now)
        minute.finished += 1
        minute.failed += failed
        if self.on_room is not None:
            self.on_room()
        if not self.in_flight and self.draining:
            self._idle.set()

    def load(self) -> Load:
        """The calls of the last 60 seconds, for the node's health."""
        return self._minute.load(time.monotonic())

    def error_rate(self) -> float:
        """Share of the last 60 seconds' calls that failed by the server's fault."""
        return self.load().error_rate

    def refuse_new(self) -> None:
        """Begins to drain: calls that come from now on are refused, streams are told."""
        self.draining = True
        self._leaving.set()
        if not self.in_flight:
            self._idle.set()

    async def until_draining(self) -> None:
        """Returns when draining begins; endless streams wait for it beside their own work."""
        await self._leaving.wait()

    def refuse_if_draining(self) -> None:
        """Refuses a call that came while draining.

        Raises:
            NodeUnavailableError: while draining.
        """
        if self.draining:
            raise NodeUnavailableError(
                f"node {self.node or '(unnamed)'} is draining; call another replica, "
                "or this one when it is back",
                retry_after=1.0,
            )

    async def wait_idle(self, timeout: float) -> bool:
        """Waits until no handler runs any more, after `refuse_new`.

        Returns:
            Whether that happened within `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("%d calls did not end within %.1f s", self.in_flight, timeout)
            return False
        return True
