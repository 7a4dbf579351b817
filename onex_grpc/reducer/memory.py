"""What a reducer keeps in memory: who works on a key, and the last committed states."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

S = TypeVar("S", bound=Message)


class KeyLocks:
    """One lock a key, while somebody holds it or waits for it; first come, first served."""

    def __init__(self) -> None:
        self._locks: dict[str, _KeyLock] = {}

    def hold(self, key: str) -> _KeyLock:
        """Keeps others off a key for as long as the block that is entered with it runs."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = _KeyLock(self._locks, key)
        return lock


class _KeyLock:
    """The lock of one key; it stays among `locks` as long as it has users."""

    __slots__ = ("_key", "_lock", "_locks", "_users")

    def __init__(self, locks: dict[str, _KeyLock], key: str) -> None:
        self._locks = locks
        self._key = key
        self._lock = asyncio.Lock()
        self._users = 0

    async def __aenter__(self) -> None:
        self._users += 1
        try:
            await self._lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *exc_info: object) -> None:
        self._lock.release()
        self._leave()

    def _leave(self) -> None:
        self._users -= 1
        if not self._users:
            del self._locks[self._key]


@dataclass(frozen=True, slots=True)
class Versioned(Generic[S]):
    """A committed state; never changed, only copied."""

    version: int
    state: S


class StateCache(Generic[S]):
    """The last committed states, so that a commit needs no read before it; bounded.

    Args:
        entries: most states that are kept.
        largest: most bytes of one state that is kept, serialised.
        total: most bytes of all of them.
    """

    def __init__(
        self, entries: int = 10_000, largest: int = 65_536, total: int = 64 * 2**20
    ) -> None:
        self._entries = entries
        self._largest = largest
        self._total = total
        self._bytes = 0
        self._states: OrderedDict[str, tuple[Versioned[S], int]] = OrderedDict()

    def get(self, key: str) -> Versioned[S] | None:
        """The state of a key, if it is kept."""
        found = self._states.get(key)
        if found is None:
            return None
        self._states.move_to_end(key)
        return found[0]

    def put(self, key: str, state: Versioned[S], size: int) -> None:
        """Keeps a state, unless its size in bytes is too large to be worth it."""
        self.drop(key)
        if size > self._largest:
            return
        self._states[key] = state, size
        self._bytes += size
        while len(self._states) > self._entries or self._bytes > self._total:
            self.drop(next(iter(self._states)))

    def drop(self, key: str) -> None:
        """Forgets a state, since another one may have been committed."""
        found = self._states.pop(key, None)
        if found is not None:
            self._bytes -= found[1]
