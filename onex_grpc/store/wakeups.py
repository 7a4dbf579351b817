"""Wakes those who wait for intents or events, without polling."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

from onex_grpc.errors import UnavailableError
from onex_grpc.store.readiness import Readiness

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


_MOST_WATCHED: Final = 10_000
# So long somebody may take to look what a wait that has ended made ready, before another one does.
_LOOK_SECONDS: Final = 0.05


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

    `readiness` says which claims may find an intent; `due_us` is when one may become ready by
    itself, `new_due_us` the same of the batch's own intents; `looked` says whether a claim has
    found that out.
    """

    __slots__ = ("due_us", "looked", "new_due_us", "readiness", "topics", "watched")

    def __init__(self, readiness: Readiness, due_us: int | None) -> None:
        self.readiness = readiness
        self.due_us = due_us
        self.new_due_us: int | None = None
        self.looked = False
        self.topics: set[str] = set()
        self.watched: set[str] = set()
        """What other processes are asked to tell of."""

    def emitted(self, route: str) -> None:
        """Notes that an intent of a route became ready."""
        self.readiness.emitted(route)

    def unsure(self) -> None:
        """Notes that what was noted of the queue may be void; a claim too many does no harm."""
        self.readiness.unsure()

    def due(self, at_us: int) -> None:
        """Notes that an intent's wait or visibility timeout ends at that time."""
        if self.due_us is None or at_us < self.due_us:
            self.due_us = at_us
        if self.new_due_us is None or at_us < self.new_due_us:
            self.new_due_us = at_us

    def released(self, workflow_id: str) -> None:
        """Notes that a lease was given up."""
        self.topics.add(release_topic(workflow_id))

    def drained(self, accepts: Collection[str], next_due_us: int | None) -> None:
        """Notes that a claim for these routes, or all, has found nothing more, and when the next
        wait of any intent ends.
        """
        self.readiness.drained(accepts)
        self.due_us = next_due_us
        self.looked = True


class News:
    """What other processes have told since the present batch began, which may not have seen it."""

    __slots__ = ("due_us", "is_unsure", "routes")

    def __init__(self) -> None:
        self.is_unsure = False
        self.routes: set[str] = set()
        self.due_us: int | None = None

    def due(self, at_us: int) -> None:
        """A wait or visibility timeout ends at that time."""
        self.due_us = at_us if self.due_us is None else min(self.due_us, at_us)

    def add_to(self, changes: Changes) -> None:
        """Puts it over what the batch has found."""
        if self.is_unsure:
            changes.unsure()
        for route in self.routes:
            changes.emitted(route)
        if self.due_us is not None:
            changes.due(self.due_us)


class Wakeups:
    """Those who wait. The writer thread settles each batch; waiting happens in any event loop."""

    def __init__(self, clock: Time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Until the first claim has looked, an earlier process may have left intents.
        self._readiness = Readiness()
        self._due_us: int | None = None
        # While somebody looks what a wait that has ended made ready; by the monotonic clock.
        self._others_look_at = 0.0
        self._intents: dict[asyncio.Future[None], Collection[str]] = {}
        self._topics: dict[str, set[asyncio.Future[None]]] = {}
        self._closed = False
        # What other processes wait for, the latest last.
        self._watched: OrderedDict[str, None] = OrderedDict()
        self._news = News()

    def begin(self) -> Changes:
        """The changes of a new batch."""
        with self._lock:
            self._news = News()
            return Changes(self._readiness.copy(), self._due_us)

    def settle(self, changes: Changes) -> Sequence[asyncio.Future[None]]:
        """Takes over what a durable batch has changed; returns the waits that it ends."""
        with self._lock:
            before_us = self._due_us
            self._news.add_to(changes)
            self._readiness, self._due_us = changes.readiness, changes.due_us
            sooner = changes.due_us is not None and (
                before_us is None or changes.due_us < before_us
            )
            if changes.looked and self._others_look_at:
                self._others_look_at = 0.0
                sooner = True
            woken = self._wake_all() if sooner else self._wake_ready()
            for topic in changes.topics:
                woken.extend(self._topics.pop(topic, ()))
        return woken

    def told_ready(self, routes: Collection[str]) -> Sequence[asyncio.Future[None]]:
        """Notes that another process has made intents of these routes ready; returns the waits
        that this ends.
        """
        with self._lock:
            self._news.routes.update(routes)
            for route in routes:
                self._readiness.emitted(route)
            return self._wake_ready()

    def told_due(self, due_us: int) -> Sequence[asyncio.Future[None]]:
        """Notes that a wait or visibility timeout of another process's claim ends at that time;
        returns the waits that must be set anew.
        """
        with self._lock:
            self._news.due(due_us)
            if self._due_us is not None and self._due_us <= due_us:
                return ()
            self._due_us = due_us
            self._others_look_at = 0.0
            return self._wake_all()

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
        with self._lock:
            self._news.is_unsure = True
            self._readiness.unsure()
            woken = self._wake_all()
            for waiting in self._topics.values():
                woken.extend(waiting)
            self._topics.clear()
        return woken

    def undo(self) -> None:
        """Forgets what is known of the queue, since a batch was rolled back; the next claim looks
        again.
        """
        with self._lock:
            self._readiness.unsure()

    def close(self) -> Sequence[asyncio.Future[None]]:
        """Refuses further waits; returns all that are open."""
        with self._lock:
            self._closed = True
            woken = self._wake_all()
            for waiting in self._topics.values():
                woken.extend(waiting)
            self._topics.clear()
        return woken

    async def intents(self, timeout: float | None, accepts: Collection[str]) -> None:
        """Returns when an intent may have become ready for who takes these routes, or everything,
        or after `timeout` seconds.

        When a wait or visibility timeout ends, whose intent ever it is, this returns for one of
        those who wait, who is to look.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while True:
            with self._lock:
                self._check_open()
                if self._readiness.may_have(accepts):
                    return
                due_us = self._due_us
                remaining = None if deadline is None else deadline - loop.time()
                wait = self._until(due_us, remaining)
                woken = loop.create_future()
                self._intents[woken] = accepts
            try:
                async with asyncio.timeout(wait):
                    await woken
            except TimeoutError:
                if (deadline is not None and loop.time() >= deadline) or self._shall_look(due_us):
                    return
            finally:
                with self._lock:
                    self._intents.pop(woken, None)

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

    def _wake_ready(self) -> list[asyncio.Future[None]]:
        may_have = self._readiness.may_have
        woken = [each for each, accepts in self._intents.items() if may_have(accepts)]
        for each in woken:
            del self._intents[each]
        return woken

    def _wake_all(self) -> list[asyncio.Future[None]]:
        woken = [*self._intents]
        self._intents.clear()
        return woken

    def _forget(self, topic: str, woken: asyncio.Future[None]) -> None:
        with self._lock:
            waiting = self._topics.get(topic)
            if waiting is not None:
                waiting.discard(woken)
                if not waiting:
                    del self._topics[topic]

    def _shall_look(self, due_us: int | None) -> bool:
        """Whether who has waited for that time is the one to look; others then leave it to them."""
        with self._lock:
            now = time.monotonic()
            if self._due_us != due_us or now < self._others_look_at:
                return False
            self._others_look_at = now + _LOOK_SECONDS
            return True

    def _until(self, due_us: int | None, remaining: float | None) -> float | None:
        if due_us is None:
            return remaining
        others = self._others_look_at - time.monotonic()
        # The floor keeps a claim that comes a moment too early from becoming a busy loop.
        due = max(0.001, (due_us - self._clock.peek()) / 1e6, others)
        return due if remaining is None else min(due, remaining)

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("the store is closed; the process is about to end")
