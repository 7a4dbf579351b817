"""Workers in other languages: they complete what they took, send no more, and read to the end."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import pytest

from onex.v1 import intent_pb2
from onex_grpc.store import open_store
from onex_grpc.store.model import IntentState
from tests.clients.conftest import ROOT
from tests.mesh.intents.served_queue import ServedQueue, Worker, credit, hello
from tests.store.server import PostgresServer
from tests.unit.intent.bench import intent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.clients.conftest import Call

    Work = Callable[[str, int], dict[str, object]]

# A first build of grpc in Go takes its time.
pytestmark = pytest.mark.timeout(600)

BIN = Path(sys.executable).parent
GO_FOLDER = Path(__file__).parent / "go"
COUNT = 30


class Scene(NamedTuple):
    """A queue with intents in it."""

    queue: ServedQueue
    address: str


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server."""
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgres"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    """A queue over each kind of store."""
    if request.param == "sqlite":
        address = str(tmp_path / "reducer.db")
    else:
        address = request.getfixturevalue("postgres").address
    owner = f"reducer/{uuid.uuid4()}"
    store = await open_store(address, owner=owner)
    queue = ServedQueue(store)
    await queue.start()
    await queue.emit(*(intent(f"f{n}") for n in range(COUNT)))
    yield Scene(queue, queue.address)
    await queue.close()
    await store.close()


@pytest.fixture(scope="session")
def go_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worker in Go, built."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("there is no go on this machine")
    run = ["mod", "download"]
    fetched = subprocess.run(
        [go, *run], cwd=GO_FOLDER, capture_output=True, text=True, timeout=300, check=False
    )
    if fetched.returncode:
        pytest.skip(f"the modules of the worker in Go cannot be had: {fetched.stderr[-300:]}")
    program = tmp_path_factory.mktemp("go") / "worker"
    subprocess.run(
        [go, "build", "-buildvcs=false", "-o", str(program)],
        cwd=GO_FOLDER,
        timeout=500,
        check=True,
        env={**os.environ, "CGO_ENABLED": "0"},
    )
    return program


@pytest.fixture(scope="session")
def descriptors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mesh's protos as descriptors."""
    path = tmp_path_factory.mktemp("descriptors") / "mesh.binpb"
    subprocess.run([BIN / "buf", "build", "proto", "-o", path], cwd=ROOT, check=True, timeout=60)
    return path


@pytest.fixture
def go_worker(go_program: Path, descriptors: Path) -> Work:
    """Runs the worker in Go."""

    def work(address: str, count: int) -> dict[str, object]:
        done = subprocess.run(
            [go_program, address, descriptors, str(count)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return cast("dict[str, object]", json.loads(done.stdout))

    return work


@pytest.fixture
def node_worker(node_script: Call) -> Work:
    """Runs the worker in Node.js."""
    return lambda address, count: node_script("worker.js", address, str(count))


@pytest.mark.parametrize("language", ["node", "go"])
async def test_a_worker_that_sends_no_more_has_its_reports_settled(
    request: pytest.FixtureRequest, scene: Scene, language: str
) -> None:
    work: Work = request.getfixturevalue(f"{language}_worker")
    seen = await asyncio.to_thread(work, scene.address, COUNT)
    assert seen["code"] == "OK", seen
    assert (seen["taken"], seen["settled"]) == (COUNT, {"INTENT_STATUS_COMPLETED": COUNT})
    stats = await scene.queue.stub.GetQueueStats(intent_pb2.GetQueueStatsRequest())
    assert (stats.completed, stats.pending, stats.in_flight, stats.dead) == (COUNT, 0, 0, 0)
    # None of them comes again.
    next_one = intent("next")
    await scene.queue.emit(next_one)
    worker = Worker(scene.queue)
    await worker.say(hello(worker="effect/foreign"), credit(COUNT))
    await worker.take(1)
    (taken,) = await scene.queue.listed(IntentState.IN_FLIGHT)
    assert taken.intent.intent_id == next_one.intent_id
    completed = await scene.queue.listed(IntentState.COMPLETED)
    assert [entry.attempts for entry in completed] == [1] * COUNT
