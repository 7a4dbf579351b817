"""A bounded queue of messages between two tasks, closed by the one that writes."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import grpc

_CAPACITY: Final = 16
_CAPACITY_BYTES: Final = 1024 * 1024


class Pipe:
    """Holds back a writer that is too fast, as flow control does on the network."""

    __slots__ = ("_bytes", "_changed", "_closed", "_messages")

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._closed = False
        # Most calls need none: they have one request and one response.
        self._changed: asyncio.Event | None = None

    async def put(self, message: bytes) -> None:
        """Add a message; wait while the pipe is full. What comes after the end is dropped."""
        while self._is_full() and not self._closed:
            await self._wait()
        if not self._closed:
            self._messages.append(message)
            self._bytes += len(message)
            self._tell()

    async def get(self) -> object:
        """The next message; grpc.aio.EOF after the last."""
        while not self._messages:
            if self._closed:
                return grpc.aio.EOF
            await self._wait()
        message = self._messages.popleft()
        self._bytes -= len(message)
        self._tell()
        return message

    def close(self) -> None:
        """Ends the pipe; what is in it can still be read."""
        self._closed = True
        self._tell()

    def _is_full(self) -> bool:
        return len(self._messages) >= _CAPACITY or self._bytes >= _CAPACITY_BYTES

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.set()

    async def _wait(self) -> None:
        if self._changed is None:
            self._changed = asyncio.Event()
        self._changed.clear()
        await self._changed.wait()
