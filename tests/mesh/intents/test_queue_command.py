"""`onex queue` over a reducer and a worker, each a process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING

from onex.v1 import intent_pb2, intent_pb2_grpc, reducer_pb2_grpc
from onex_grpc.rpc import Mesh
from onex_grpc.testing.process import NodeProcess
from tests.mesh.intents.making import PLACE, custom, emission, free_ports, journal, settings_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = "custom/google.protobuf.StringValue"


async def onex_queue(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `onex queue` in a folder, where an onex.toml may be."""
    command = [sys.executable, "-m", "onex_grpc.cli", "queue", *arguments]
    return await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


async def until(mesh: Mesh, wanted: Callable[[intent_pb2.GetQueueStatsResponse], bool]) -> None:
    """Returns when the figures of the queue are as wanted; they cannot be awaited."""
    queue = mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, "reducer")
    while True:
        if wanted(await queue.GetQueueStats(intent_pb2.GetQueueStatsRequest())):
            return
        await asyncio.sleep(0.005)


async def test_onex_queue_tells_what_waits_and_who_takes_it(tmp_path: Path) -> None:
    ports = free_ports("effect", "reducer", "orchestrator")
    (tmp_path / "onex.toml").write_text(settings_text(ports))
    (tmp_path / "journal.sql").write_text("CREATE TABLE journal (id TEXT);")
    (tmp_path / "elsewhere").mkdir()
    address = f"127.0.0.1:{ports['reducer']}"
    misspelt = journal("slip", 1)
    misspelt.target = "jornal"
    async with (
        NodeProcess(f"{PLACE}:Emitter", folder=tmp_path, port=ports["reducer"]),
        NodeProcess(f"{PLACE}:Worker", folder=tmp_path, port=ports["effect"]),
        Mesh({"reducer": address}) as mesh,
    ):
        await mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer").ExecuteReduction(
            emission("a", misspelt, journal("one"), custom("fail 0"))
        )
        await until(mesh, lambda stats: stats.completed == 2)
        table, listed, asked, nobody, no_reducer = await asyncio.gather(
            onex_queue(tmp_path),
            onex_queue(tmp_path, "--node", "reducer/emitter", "--json"),
            onex_queue(tmp_path / "elsewhere", "--address", address),
            onex_queue(tmp_path, "--address", "127.0.0.1:1"),
            onex_queue(tmp_path, "--node", "effect/worker"),
        )
    assert (table.returncode, table.stderr) == (0, "")
    status, priorities, routes = (
        [line.split() for line in part.splitlines()] for part in table.stdout.split("\n\n")
    )
    assert status[0] == ["STATUS", "INTENTS"]
    assert status[1:4] == [["pending", "1"], ["in_flight", "0"], ["completed", "2"]]
    assert priorities[0] == ["PRIORITY", "PENDING", "IN", "FLIGHT", "OLDEST"]
    assert priorities[1][:3] == ["CRITICAL", "1", "0"]
    assert routes[0] == ["ROUTE", "PENDING", "OLDEST", "WORKERS"]
    assert (routes[1][:2], routes[1][-1]) == (["target/jornal", "1"], "0")
    report = json.loads(listed.stdout)
    assert report["node"] == "reducer/emitter"
    assert report["status"] == {
        "pending": 1,
        "in_flight": 0,
        "completed": 2,
        "dead": 0,
        "cancelled": 0,
    }
    (route,) = report["routes"]
    assert (route["route"], route["pending"], route["workers"]) == ("target/jornal", 1, 0)
    assert 0 <= route["oldest_seconds"] < 60
    assert "target/jornal" in asked.stdout
    assert (nobody.returncode, no_reducer.returncode) == (2, 2)
    assert nobody.stderr.startswith("error: reducer at")
    assert no_reducer.stderr.startswith("error: --node 'effect/worker': only a reducer")


async def test_onex_queue_counts_workers_that_are_connected(tmp_path: Path) -> None:
    ports = free_ports("effect", "reducer", "orchestrator")
    (tmp_path / "onex.toml").write_text(settings_text(ports))
    address = f"127.0.0.1:{ports['reducer']}"
    async with (
        NodeProcess(f"{PLACE}:Emitter", folder=tmp_path, port=ports["reducer"]),
        Mesh({"reducer": address}) as mesh,
    ):
        reducer = mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
        await reducer.ExecuteReduction(emission("a", custom("one"), custom("two")))
        queue = mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, "reducer")
        call = queue.TakeIntents()
        hello = intent_pb2.TakeIntentsHello(worker="effect/w", accepts=[TEXT])
        await call.write(intent_pb2.TakeIntentsRequest(hello=hello))
        credit = intent_pb2.TakeIntentsCredit(count=1)
        await call.write(intent_pb2.TakeIntentsRequest(credit=credit))
        await call.read()
        shown = await onex_queue(tmp_path, "--json")
        call.cancel()
        (route,) = json.loads(shown.stdout)["routes"]
        assert (route["route"], route["pending"], route["workers"]) == (TEXT, 1, 1)
        await until(mesh, lambda stats: not stats.routes[0].workers)
