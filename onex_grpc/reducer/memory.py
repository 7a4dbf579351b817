"""What a reducer keeps in memory: who works on a key, and the last committed states."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from google.protobuf.message import Message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

S = TypeVar("S", bound=Message)


class KeyLocks:
    """One lock a key, while somebody holds it or waits for it; first come, first served."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Keeps others off a key."""
        lock, users = self._locks.setdefault(key, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[key]


@dataclass(frozen=True, slots=True)
class Versioned(Generic[S]):
    """A committed state; never changed, only copied."""

    version: int
    state: S


class StateCache(Generic[S]):
    """The last committed states, so that a commit needs no read before it; bounded."""

    def __init__(self, entries: int = 10_000, largest: int = 65_536) -> None:
        self._entries = entries
        self._largest = largest
        self._states: OrderedDict[str, Versioned[S]] = OrderedDict()

    def get(self, key: str) -> Versioned[S] | None:
        """The state of a key, if it is kept."""
        found = self._states.get(key)
        if found is not None:
            self._states.move_to_end(key)
        return found

    def put(self, key: str, state: Versioned[S], size: int) -> None:
        """Keeps a state, unless its size in bytes is too large to be worth it."""
        if size > self._largest:
            self.drop(key)
            return
        self._states[key] = state
        self._states.move_to_end(key)
        if len(self._states) > self._entries:
            self._states.popitem(last=False)

    def drop(self, key: str) -> None:
        """Forgets a state, since another one may have been committed."""
        self._states.pop(key, None)
