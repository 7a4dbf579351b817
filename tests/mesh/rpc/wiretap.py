"""A TCP relay between a client and a server that reads the HTTP/2 frames it passes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_PREFACE: Final = 24
_HEADER: Final = 9
_PING: Final = 6
_GOAWAY: Final = 7
_ACK: Final = 1


class _Frames:
    """The frames of one direction of one connection."""

    def __init__(self, skip: int) -> None:
        self._buffer = bytearray()
        self._skip = skip

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Return type, flags and payload of the frames that are complete with these bytes."""
        self._buffer += data
        if len(self._buffer) < self._skip:
            return []
        del self._buffer[: self._skip]
        self._skip = 0
        found = []
        while len(self._buffer) >= _HEADER:
            end = _HEADER + int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < end:
                break
            found.append((self._buffer[3], self._buffer[4], bytes(self._buffer[_HEADER:end])))
            del self._buffer[:end]
        return found


class Wiretap:
    """The relay to one port.

    Attributes:
        port: where clients connect.
        connections: how many clients have connected.
        chunks: how often bytes came from clients.
        pings: pings that were no answers, by direction: `client` or `server` sent them.
        goaways: payloads of the frames by which a side ended a connection.
    """

    def __init__(self, port: int, *, encrypted: bool = False) -> None:
        self.port = 0
        self.connections = 0
        self.chunks = 0
        self.pings: Counter[str] = Counter()
        self.goaways: list[bytes] = []
        self._to = port
        self._encrypted = encrypted
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._relays: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the relay sees."""
        async with self._changed:
            await self._changed.wait_for(condition)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        onward = await asyncio.open_connection("127.0.0.1", self._to)
        for side, source, drain in (("client", reader, onward[1]), ("server", onward[0], writer)):
            relay = asyncio.create_task(self._relay(side, source, drain))
            self._relays.add(relay)
            relay.add_done_callback(self._relays.discard)

    async def _relay(
        self, side: str, source: asyncio.StreamReader, drain: asyncio.StreamWriter
    ) -> None:
        frames = _Frames(_PREFACE if side == "client" else 0)
        try:
            while data := await source.read(65536):
                drain.write(data)
                self.chunks += side == "client"
                if not self._encrypted:
                    for frame in frames.feed(data):
                        self._note(side, *frame)
                async with self._changed:
                    self._changed.notify_all()
        except ConnectionError:
            pass
        finally:
            drain.close()

    def _note(self, side: str, kind: int, flags: int, payload: bytes) -> None:
        if kind == _PING and not flags & _ACK:
            self.pings[side] += 1
        elif kind == _GOAWAY:
            self.goaways.append(payload)
