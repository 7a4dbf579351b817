"""A server that speaks just enough HTTP/2 to end each call as no gRPC library would."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

_PREFACE: Final = 24
_HEADERS, _SETTINGS, _PING = 1, 4, 6
_ACK, _END_STREAM, _END_HEADERS = 0x1, 0x1, 0x4


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    length = len(payload).to_bytes(3, "big")
    return length + struct.pack(">BBI", kind, flags, stream) + payload


def _integer(number: int, bits: int) -> bytes:
    """A number as HPACK writes it (RFC 7541, 5.1)."""
    most = 2**bits - 1
    if number < most:
        return bytes([number])
    number -= most
    found = [most]
    while number >= 128:
        found.append(number % 128 + 128)
        number //= 128
    return bytes([*found, number])


def _field(name: bytes, value: bytes) -> bytes:
    return b"\0" + _integer(len(name), 7) + name + _integer(len(value), 7) + value


@asynccontextmanager
async def odd_server(trailers: Sequence[tuple[bytes, bytes]]) -> AsyncIterator[str]:
    """The address of a server that ends each call with these trailers, and nothing else."""
    block = b"\x88" + _field(b"content-type", b"application/grpc")
    block += b"".join(_field(name, value) for name, value in trailers)

    connections: dict[asyncio.Task[object] | None, asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[asyncio.current_task()] = writer
        try:
            await reader.readexactly(_PREFACE)
            writer.write(_frame(_SETTINGS, 0, 0, b""))
            while True:
                head = await reader.readexactly(9)
                kind, flags, stream = struct.unpack(">BBI", head[3:])
                payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
                if kind in (_SETTINGS, _PING) and not flags & _ACK:
                    writer.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
                elif kind == _HEADERS:
                    writer.write(_frame(_HEADERS, _END_STREAM | _END_HEADERS, stream, block))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in connections.values():
            writer.close()
        await asyncio.gather(*(task for task in connections if task is not None))
