"""A reducer whose intents are for two effect nodes, each a process: both get theirs alone."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from desk.v1 import desk_pb2
from desk.v1.desk_onex import DeskClient

from onex.v1 import intent_pb2, intent_pb2_grpc
from onex_grpc.rpc import Mesh
from onex_grpc.testing.process import NodeProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NODES: Final = "tests.mesh.typed.desk_nodes"
ROOT: Final = Path(__file__).parents[3]
PATHS: Final = (ROOT, ROOT / "generated", ROOT / "tests/mesh/typed/generated")
ENVIRONMENT: Final = {"PYTHONPATH": os.pathsep.join(str(path) for path in PATHS)}
LETTERS: Final = [f"letter {number}" for number in range(30)]
DONE: Final = ("stamped", "carried")


def process(node: str, folder: Path) -> NodeProcess:
    return NodeProcess(f"{NODES}:{node}", folder=folder, environment=ENVIRONMENT)


class Desk:
    """A desk that runs as a process, and who looks at its queue."""

    def __init__(self, address: str, folder: Path) -> None:
        self.folder = folder
        self.mesh = Mesh({"reducer": address})
        self.client = DeskClient(self.mesh)
        self.queue = self.mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, "reducer")

    async def send(self, *letters: str) -> None:
        for letter in letters:
            await self.client.send(desk_pb2.SendRequest(desk_id="d", letter_id=letter))

    async def completed(self, wanted: int) -> intent_pb2.GetQueueStatsResponse:
        """The figures once so many intents are completed."""
        while True:
            stats = await self.queue.GetQueueStats(intent_pb2.GetQueueStatsRequest())
            if stats.completed >= wanted:
                return stats
            await asyncio.sleep(0.005)

    def notes(self) -> list[str]:
        return (self.folder / "letters.txt").read_text().splitlines()


@asynccontextmanager
async def running_desk(folder: Path) -> AsyncIterator[Desk]:
    async with process("Desk", folder) as running:
        (folder / "onex.toml").write_text(
            f'queues = ["reducer"]\n[addresses]\nreducer = "{running.address}"\n'
        )
        desk = Desk(running.address, folder)
        yield desk
        await desk.mesh.close()


async def test_each_effect_gets_its_own_intents(tmp_path: Path) -> None:
    async with (
        running_desk(tmp_path) as desk,
        process("Stamp", tmp_path),
        process("Porter", tmp_path),
    ):
        await desk.send(*LETTERS)
        stats = await desk.completed(2 * len(LETTERS))

    assert (stats.pending, stats.in_flight, stats.dead) == (0, 0, 0)
    notes = desk.notes()
    assert sorted(notes) == sorted(f"{done} {one}" for one in LETTERS for done in DONE)
    # The order of a key holds over both.
    assert all(notes.index(f"stamped {one}") < notes.index(f"carried {one}") for one in LETTERS)


async def test_intents_of_an_effect_that_is_down_wait_for_it(tmp_path: Path) -> None:
    async with running_desk(tmp_path) as desk, process("Stamp", tmp_path):
        await desk.send(*LETTERS[:10])
        stats = await desk.completed(10)
        assert (stats.pending, stats.in_flight, stats.dead) == (10, 0, 0)
        assert desk.notes() == [f"stamped {one}" for one in LETTERS[:10]]

        async with process("Porter", tmp_path):
            stats = await desk.completed(20)

    assert (stats.pending, stats.in_flight, stats.dead) == (0, 0, 0)
    assert sorted(desk.notes()[10:]) == sorted(f"carried {one}" for one in LETTERS[:10])
