"""A stream's messages to its worker, bounded until the transport takes them."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from onex.v1 import intent_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

MOST_HELD: Final = 10_000
"""Claims of one stream, and confirmations that its worker has not read: a hello names as many."""

MOST_DELIVERIES: Final = 32
"""Intents that are claimed at once; no more are claimed while so many wait on a stream."""

STREAM_BYTES: Final = 256 * 1024
"""The same in bytes; a larger intent waits alone."""

_QUEUE_BYTES: Final = 32 * 1024 * 1024


class Change:
    """Wakes every waiter at each change."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Wake every waiter."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Return at the next change."""
        await self._event.wait()


class Backlog:
    """The bytes that wait on all streams of a queue.

    Args:
        most: the bytes that may wait, those of claims under way included.
    """

    def __init__(self, most: int = _QUEUE_BYTES) -> None:
        self._most = most
        self._waiting = 0
        self._changed = Change()

    def add(self, size: int) -> None:
        """Count bytes that begin to wait, or, below 0, that no longer do."""
        self._waiting += size
        if size < 0:
            self._changed.tell()

    @asynccontextmanager
    async def reserve(self, size: int) -> AsyncGenerator[None, None]:
        """Wait until there is room for so many bytes, and keep it while the block runs."""
        while self._waiting + size > self._most:
            await self._changed.wait()
        self.add(size)
        try:
            yield
        finally:
            self.add(-size)


class _Delivery(NamedTuple):
    response: intent_pb2.TakeIntentsResponse
    size: int


class _Confirmation(NamedTuple):
    # Ten thousand of these are a tenth of the messages' memory.
    token: str
    status: intent_pb2.IntentStatus.ValueType


class Outbox:
    """Deliveries and confirmations in their order; the stream's flow control takes them.

    Args:
        backlog: the bytes of all streams of the queue.
    """

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._waiting: deque[_Delivery | _Confirmation] = deque()
        self._deliveries = 0
        self._bytes = 0
        self._taken = 0
        self._stalled = False
        self._closed = False
        self._changed = Change()

    @property
    def is_full(self) -> bool:
        """True while no further delivery may be added."""
        return self._deliveries >= MOST_DELIVERIES or self._bytes >= STREAM_BYTES

    def deliver(self, response: intent_pb2.TakeIntentsResponse) -> None:
        """Add a delivery."""
        size = response.ByteSize()
        self._waiting.append(_Delivery(response, size))
        self._count(1, size)
        self._changed.tell()

    def confirm(self, token: str, status: intent_pb2.IntentStatus.ValueType) -> None:
        """Add the answer to a report."""
        self._waiting.append(_Confirmation(token, status))
        self._changed.tell()

    async def take(self) -> intent_pb2.TakeIntentsResponse | None:
        """Return the next message once there is one; None after the last."""
        # The transport asks for the next message once it has taken the previous one.
        self._taken += 1
        self._stalled = False
        self._changed.tell()
        while not self._waiting:
            if self._closed:
                return None
            await self._changed.wait()
        return self._pop()

    def withdraw(self) -> list[str]:
        """Take back the deliveries that still wait; return their claim tokens."""
        withdrawn = [entry for entry in self._waiting if isinstance(entry, _Delivery)]
        self._waiting = deque(e for e in self._waiting if not isinstance(e, _Delivery))
        self._count(-len(withdrawn), -sum(entry.size for entry in withdrawn))
        return [entry.response.delivery.claim_token for entry in withdrawn]

    def close(self) -> None:
        """End the stream of messages; the present ones are still taken."""
        self._closed = True
        self._changed.tell()

    @asynccontextmanager
    async def room(self) -> AsyncGenerator[None, None]:
        """Wait until further deliveries may wait here; keep room for some while the block runs."""
        while True:
            while self._is_blocked():
                await self._changed.wait()
            async with self._backlog.reserve(STREAM_BYTES):
                if not self._is_blocked():
                    yield
                    return

    async def accepts_confirmations(self) -> None:
        """Return when further confirmations may wait here."""
        while len(self._waiting) >= MOST_HELD:
            await self._changed.wait()

    async def stalls(self, seconds: float) -> None:
        """Return when deliveries have waited so long without the transport taking any message;
        no more are accepted until it takes one.
        """
        while True:
            while not self._deliveries:
                await self._changed.wait()
            before = self._taken
            try:
                async with asyncio.timeout(seconds):
                    while self._taken == before:
                        await self._changed.wait()
            except TimeoutError:
                self._stalled = True
                return

    def _is_blocked(self) -> bool:
        return self._stalled or self.is_full

    def _pop(self) -> intent_pb2.TakeIntentsResponse:
        entry = self._waiting.popleft()
        if isinstance(entry, _Delivery):
            self._count(-1, -entry.size)
            self._changed.tell()
            return entry.response
        settled = intent_pb2.IntentSettled(claim_token=entry.token, status=entry.status)
        return intent_pb2.TakeIntentsResponse(settled=settled)

    def _count(self, deliveries: int, size: int) -> None:
        self._deliveries += deliveries
        self._bytes += size
        self._backlog.add(size)
