"""Wakes those who wait for intents or events, without polling."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

from onex_grpc.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence


_MOST_WATCHED: Final = 10_000


def release_topic(workflow_id: str) -> str:
    """What those wait for who wait for the end of a lease; no event has such a topic."""
    return f"\n{workflow_id}"


class Time(Protocol):
    """A store's time, as those who wait need it."""

    def peek(self) -> int:
        """Microseconds since the Unix epoch; for any thread."""
        ...


class Changes:
    """What the operations of one batch mean for those who wait, noted in their order.

    `ready` says that a claim may find an intent; `due_us` is when one may become ready by itself.
    """

    __slots__ = ("due_us", "news", "ready", "topics", "watched")

    def __init__(self, ready: bool, due_us: int | None, news: int = 0) -> None:
        self.news = news
        self.ready = ready
        self.due_us = due_us
        self.topics: set[str] = set()
        self.watched: set[str] = set()
        """What other processes are asked to tell of."""

    def due(self, at_us: int) -> None:
        """Notes that an intent's wait or visibility timeout ends at that time."""
        if self.due_us is None or at_us < self.due_us:
            self.due_us = at_us

    def released(self, workflow_id: str) -> None:
        """Notes that a lease was given up."""
        self.topics.add(release_topic(workflow_id))

    def drained(self, next_due_us: int | None) -> None:
        """Notes that a claim has found nothing more, and when the next wait ends."""
        self.ready = False
        self.due_us = next_due_us


class Wakeups:
    """Those who wait. The writer thread settles each batch; waiting happens in any event loop."""

    def __init__(self, clock: Time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Until the first claim has looked, an earlier process may have left intents.
        self._ready = True
        self._due_us: int | None = None
        self._intents: set[asyncio.Future[None]] = set()
        self._topics: dict[str, set[asyncio.Future[None]]] = {}
        self._closed = False
        # What other processes wait for, the latest last.
        self._watched: OrderedDict[str, None] = OrderedDict()
        # How often other processes have told something; a batch that began earlier has not seen it.
        self._news = 0

    def begin(self) -> Changes:
        """The changes of a new batch."""
        with self._lock:
            return Changes(self._ready, self._due_us, self._news)

    def settle(self, changes: Changes) -> Sequence[asyncio.Future[None]]:
        """Takes over what a durable batch has changed; returns the waits that it ends."""
        with self._lock:
            sooner = changes.due_us is not None and (
                self._due_us is None or changes.due_us < self._due_us
            )
            missed = changes.news != self._news
            self._ready, self._due_us = changes.ready or missed, changes.due_us
            woken: list[asyncio.Future[None]] = []
            if self._intents and (changes.ready or sooner):
                woken.extend(self._intents)
                self._intents.clear()
            for topic in changes.topics:
                woken.extend(self._topics.pop(topic, ()))
        return woken

    def told_ready(self) -> Sequence[asyncio.Future[None]]:
        """Notes that another process may have made an intent ready; returns the waits that this
        ends.
        """
        with self._lock:
            self._news += 1
            self._ready = True
            woken = [*self._intents]
            self._intents.clear()
        return woken

    def told_due(self, due_us: int) -> Sequence[asyncio.Future[None]]:
        """Notes that a wait or visibility timeout of another process's claim ends at that time;
        returns the waits that must be set anew.
        """
        with self._lock:
            if self._due_us is not None and self._due_us <= due_us:
                return ()
            self._news += 1
            self._due_us = due_us
            woken = [*self._intents]
            self._intents.clear()
        return woken

    def told_watch(self, topic: str) -> Sequence[asyncio.Future[None]]:
        """Notes that another process waits for a topic; ends no wait."""
        with self._lock:
            self._watched[topic] = None
            self._watched.move_to_end(topic)
            if len(self._watched) > _MOST_WATCHED:
                # Whoever waits for it looks again when the lease would end.
                self._watched.popitem(last=False)
        return ()

    def is_watched(self, topic: str) -> bool:
        """Whether another process waits for a topic of `release_topic`."""
        with self._lock:
            return topic in self._watched

    def told_topic(self, topic: str) -> Sequence[asyncio.Future[None]]:
        """Notes that another process has published to a topic; returns the waits that this ends."""
        with self._lock:
            return [*self._topics.pop(topic, ())]

    def told_all(self) -> Sequence[asyncio.Future[None]]:
        """Notes that anything may have happened; returns all waits."""
        ready = self.told_ready()
        with self._lock:
            woken = [*ready]
            for waiting in self._topics.values():
                woken.extend(waiting)
            self._topics.clear()
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

    async def release(self, workflow_id: str, timeout: float) -> None:
        """Returns when a lease was given up in this process, or after `timeout` seconds."""
        woken = self.topic(release_topic(workflow_id))
        try:
            async with asyncio.timeout(timeout):
                await woken
        except TimeoutError:
            return
        finally:
            woken.cancel()

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
