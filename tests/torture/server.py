"""The one process of a SQLite store, which clients reach over gRPC."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import grpc
import msgspec
import uvloop

from onex_grpc.store import open_store
from tests.torture import seeded
from tests.torture.calls import Answer, Ask, answer
from tests.torture.client import METHOD

if TYPE_CHECKING:
    from onex_grpc.store import Store


async def serve(store: Store) -> None:
    """Serves until standard input ends; writes the port first."""

    async def call(ask: Ask, context: object) -> Answer:
        return await answer(store, ask)

    service, _, method = METHOD.removeprefix("/").partition("/")
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        call,
        request_deserializer=msgspec.msgpack.Decoder(Ask).decode,
        response_serializer=msgspec.msgpack.encode,
    )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, {method: handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.buffer.read)
    await server.stop(None)


async def main(address: str, bug: str) -> None:
    """Opens the store and serves it."""
    if bug:
        seeded.plant(bug)
    store = await open_store(address)
    await serve(store)
    await store.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2]))
