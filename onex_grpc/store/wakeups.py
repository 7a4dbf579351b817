"""Wakes those who wait for intents or events, without polling."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from onex_grpc.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.clock import StoreClock


class Changes:
    """What the operations of one batch mean for those who wait, noted in their order.

    `ready` says that a claim may find an intent; `due_us` is when one may become ready by itself.
    """

    __slots__ = ("due_us", "ready", "topics")

    def __init__(self, ready: bool, due_us: int | None) -> None:
        self.ready = ready
        self.due_us = due_us
        self.topics: set[str] = set()

    def due(self, at_us: int) -> None:
        """Notes that an intent's wait or visibility timeout ends at that time."""
        if self.due_us is None or at_us < self.due_us:
            self.due_us = at_us

    def drained(self, next_due_us: int | None) -> None:
        """Notes that a claim has found nothing more, and when the next wait ends."""
        self.ready = False
        self.due_us = next_due_us


class Wakeups:
    """Those who wait. The writer thread settles each batch; waiting happens in any event loop."""

    def __init__(self, clock: StoreClock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Until the first claim has looked, an earlier process may have left intents.
        self._ready = True
        self._due_us: int | None = None
        self._intents: set[asyncio.Future[None]] = set()
        self._topics: dict[str, set[asyncio.Future[None]]] = {}
        self._closed = False

    def begin(self) -> Changes:
        """The changes of a new batch."""
        return Changes(self._ready, self._due_us)

    def settle(self, changes: Changes) -> Sequence[asyncio.Future[None]]:
        """Takes over what a durable batch has changed; returns the waits that it ends."""
        with self._lock:
            sooner = changes.due_us is not None and (
                self._due_us is None or changes.due_us < self._due_us
            )
            self._ready, self._due_us = changes.ready, changes.due_us
            woken: list[asyncio.Future[None]] = []
            if self._intents and (changes.ready or sooner):
                woken.extend(self._intents)
                self._intents.clear()
            for topic in changes.topics:
                woken.extend(self._topics.pop(topic, ()))
        return woken

    def undo(self) -> None:
        """Forgets what is known of the queue, since a batch was rolled back; the next claim looks
        again.
        """
        with self._lock:
            self._ready = True

    def close(self) -> Sequence[asyncio.Future[None]]:
        """Refuses further waits; returns all that are open."""
        with self._lock:
            self._closed = True
            woken = [*self._intents]
            for waiting in self._topics.values():
                woken.extend(waiting)
            self._intents.clear()
            self._topics.clear()
        return woken

    async def intents(self, timeout: float | None) -> None:
        """Returns when an intent may have become ready, or after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while True:
            with self._lock:
                self._check_open()
                if self._ready:
                    return
                due_us = self._due_us
                woken = loop.create_future()
                self._intents.add(woken)
            wait = self._until(due_us, None if deadline is None else deadline - loop.time())
            try:
                async with asyncio.timeout(wait):
                    await woken
            except TimeoutError:
                return
            finally:
                with self._lock:
                    self._intents.discard(woken)

    def topic(self, topic: str) -> asyncio.Future[None]:
        """A future that ends with the next event of a topic; cancel it once it is not wanted."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._check_open()
            self._topics.setdefault(topic, set()).add(woken)
        woken.add_done_callback(lambda _: self._forget(topic, woken))
        return woken

    def _forget(self, topic: str, woken: asyncio.Future[None]) -> None:
        with self._lock:
            waiting = self._topics.get(topic)
            if waiting is not None:
                waiting.discard(woken)
                if not waiting:
                    del self._topics[topic]

    def _until(self, due_us: int | None, remaining: float | None) -> float | None:
        if due_us is None:
            return remaining
        # The floor keeps a claim that comes a moment too early from becoming a busy loop.
        due = max(0.001, (due_us - self._clock.peek()) / 1e6)
        return due if remaining is None else min(due, remaining)

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("the store is closed; the process is about to end")
