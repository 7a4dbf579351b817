"""A client process: contends for the workflows of each wave that its standard input names."""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import msgspec
import uvloop

from onex_grpc.store.postgres import open_postgres
from tests.torture import seeded
from tests.torture.calls import Answer, Ask, Door, answer, callee_of
from tests.torture.contender import Contender
from tests.torture.recorder import Log, Recorder
from tests.torture.register import Result

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

METHOD = "/torture.Register/Call"


class Wave(msgspec.Struct, frozen=True):
    """What the clients do at one time.

    Attributes:
        number: its number.
        workflows: which they contend for.
        until_ns: when it ends, by the monotonic clock.
        ttl_us: of the leases.
        seed: of this client's chances.
        out: the file for its log.
    """

    number: int
    workflows: list[str]
    until_ns: int
    ttl_us: int
    seed: int
    out: str


class Role(msgspec.Struct, frozen=True):
    """What a client process is told when it starts.

    Attributes:
        name: the client's.
        address: of a PostgreSQL database, or host:port of the server over a SQLite file.
        schema: in that database; empty for a server.
        bug: which one its store shall have; none where it is empty.
    """

    name: str
    address: str
    schema: str
    bug: str


@asynccontextmanager
async def open_door(role: Role) -> AsyncIterator[Door]:
    """The store itself, or the server that has it open."""
    if role.schema:
        store = await open_postgres(role.address, schema=role.schema)
        yield lambda ask: answer(store, ask)
        await store.close()
        return
    async with grpc.aio.insecure_channel(role.address) as channel:
        call = channel.unary_unary(
            METHOD,
            request_serializer=msgspec.msgpack.encode,
            response_deserializer=msgspec.msgpack.Decoder(Answer).decode,
        )

        async def over_grpc(ask: Ask) -> Answer:
            try:
                result: Answer = await call(ask)
            except grpc.aio.AioRpcError as error:
                return Answer(Result.UNKNOWN, error=f"{error.code().name}: {error.details()}")
            return result

        yield over_grpc


async def contend(door: Door, role: Role, wave: Wave) -> None:
    """Does one wave and writes down what happened."""
    log = Log()
    chance = random.Random(wave.seed)  # noqa: S311 - chances, not secrets
    async with asyncio.TaskGroup() as group:
        for workflow in wave.workflows:
            own = random.Random(chance.random())  # noqa: S311 - as above
            calls, callee = (
                Recorder(door, log, name, role.name, wave.ttl_us, own)
                for name in (workflow, callee_of(workflow))
            )
            group.create_task(Contender(calls, callee).run(wave.until_ns))
    await asyncio.to_thread(Path(wave.out).write_bytes, msgspec.msgpack.encode(log))


async def main(role: Role) -> None:
    """Says when it is ready; answers each line with the number of its wave once that is written
    down.
    """
    # That a server which is stopped is gone, the store rightly says.
    logging.disable(logging.WARNING)
    if role.bug:
        seeded.plant(role.bug)
    async with open_door(role) as door:
        _say("ready")
        while line := await asyncio.to_thread(sys.stdin.buffer.readline):
            wave = msgspec.json.decode(line, type=Wave)
            await contend(door, role, wave)
            _say(str(wave.number))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main(msgspec.json.decode(sys.argv[1], type=Role)))
