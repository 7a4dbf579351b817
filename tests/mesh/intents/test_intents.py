"""From a reducer's commit to the outside world, over gRPC between processes."""

from __future__ import annotations

import asyncio
import mailbox
from collections import Counter
from contextlib import AsyncExitStack, closing
from typing import TYPE_CHECKING

import apsw
import pytest

from onex.v1 import (
    effect_pb2,
    effect_pb2_grpc,
    intent_pb2,
    intent_pb2_grpc,
    node_pb2,
    node_pb2_grpc,
    reducer_pb2_grpc,
)
from onex_grpc.contract import data
from onex_grpc.errors import ContractValidationError, TargetNotFoundError
from onex_grpc.event import EventLog
from onex_grpc.rpc import Mesh
from onex_grpc.testing.process import NodeProcess
from tests.mesh.intents.making import (
    CORRELATION,
    PLACE,
    custom,
    emission,
    event,
    free_ports,
    journal,
    mail,
    settings_text,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

OTHER = "0b9b7d1e-6f0e-4b8e-8f0a-4f1d2c3b4a59"
Stats = intent_pb2.GetQueueStatsResponse


class Processes:
    """A reducer, an effect node and an event log, each a process, and a client of all three."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = free_ports("effect", "reducer", "orchestrator")
        (folder / "onex.toml").write_text(settings_text(self.ports))
        (folder / "journal.sql").write_text("CREATE TABLE IF NOT EXISTS journal (id TEXT);")
        self.mesh = Mesh({kind: f"127.0.0.1:{port}" for kind, port in self.ports.items()})
        self.queue = self.mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, "reducer")
        self.reducer = self.mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
        self.effect = self.mesh.stub(effect_pb2_grpc.EffectNodeServiceStub, "effect")

    def process(self, node: str, kind: str) -> NodeProcess:
        return NodeProcess(f"{PLACE}:{node}", folder=self.folder, port=self.ports[kind])

    async def until(self, wanted: Callable[[Stats], bool]) -> Stats:
        """Returns when the figures of the queue are as wanted."""
        while True:
            stats = await self.queue.GetQueueStats(intent_pb2.GetQueueStatsRequest())
            if wanted(stats):
                return stats
            await asyncio.sleep(0.005)

    async def completed(self, least: float) -> None:
        """Returns when so many intents are completed."""
        await self.until(lambda stats: stats.completed >= least)

    async def degraded(self) -> node_pb2.NodeHealthStatus:
        """The health of the effect node, once it misses something."""
        node = self.mesh.stub(node_pb2_grpc.NodeServiceStub, "effect")
        while True:
            response = await node.GetNodeHealth(node_pb2.GetNodeHealthRequest())
            if response.health.status == node_pb2.HEALTH_STATUS_DEGRADED:
                return response.health
            await asyncio.sleep(0.005)

    def journal(self) -> Counter[str]:
        with closing(apsw.Connection(str(self.folder / "journal.db"))) as connection:
            return Counter(str(row[0]) for row in connection.execute("SELECT id FROM journal"))

    def mails(self) -> Counter[str]:
        return Counter(m["subject"] for m in mailbox.Maildir(self.folder / "mail", create=False))

    async def events(self) -> Counter[str]:
        return Counter(e.key for e in await EventLog(self.mesh).read("things"))


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    """The reducer and the event log run; the effect node is the test's own."""
    running = Processes(tmp_path)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(running.mesh.close)
        for node, kind in (("Log", "orchestrator"), ("Emitter", "reducer")):
            await stack.enter_async_context(running.process(node, kind))
        yield running


async def test_the_way_of_an_intent(processes: Processes) -> None:
    worker = processes.process("Worker", "effect")
    async with worker:
        await processes.reducer.ExecuteReduction(
            emission("a", journal("one"), mail("one"), event("one"), custom("fail 2"))
        )
        await processes.reducer.ExecuteReduction(emission("b", custom("never", retries=1)))
        await processes.until(lambda stats: (stats.completed, stats.dead) == (4, 1))
        dead = await processes.queue.ListIntents(
            intent_pb2.ListIntentsRequest(status=intent_pb2.INTENT_STATUS_DEAD)
        )
        refused = effect_pb2.ModelContractEffect(
            external_service_config=effect_pb2.ExternalServiceConfig(service_name="nowhere"),
            io_operation_config=effect_pb2.IoOperationConfig(operation=journal("x").payload),
        )
        with pytest.raises(TargetNotFoundError, match="events, journal, mail"):
            await processes.effect.ExecuteEffect(refused)
    assert processes.journal() == processes.mails() == await processes.events() == {"one": 1}
    (last,) = dead.intents
    assert last.attempts == 2
    assert last.last_error.reason == "UNAVAILABLE"
    assert last.last_error.correlation_id == CORRELATION
    assert last.last_error.node == "effect/worker"
    assert '"correlation_id": "' + CORRELATION in worker.log.read_text()


async def test_the_most_urgent_intents_are_executed_first(processes: Processes) -> None:
    priorities = [5, 4, 3, 2, 1] * 4
    intents = [journal(f"{p}-{n}", p) for n, p in enumerate(priorities)]
    await processes.reducer.ExecuteReduction(emission("a", *intents))
    settings = processes.folder / "onex.toml"
    settings.write_text("intents_in_flight = 1\n" + settings.read_text())
    async with processes.process("Worker", "effect"):
        await processes.until(lambda stats: stats.completed == len(intents))
    done = [int(name.partition("-")[0]) for name in processes.journal()]
    assert done == sorted(priorities)


async def test_intents_handed_over_directly(processes: Processes) -> None:
    intents = [custom("never", retries=1), journal("late", 5), journal("soon", 1), event("mid")]
    async with processes.process("Worker", "effect"):
        call = processes.effect.ExecuteIntents(effect_pb2.ExecuteIntentsRequest(intents=intents))
        results = [result async for result in call]
        anonymous = custom("never", retries=0)
        anonymous.ClearField("correlation_id")
        anonymous.order_key = intents[0].order_key = "k"
        ours = (("onex-correlation-id", OTHER),)
        call = processes.effect.ExecuteIntents(
            effect_pb2.ExecuteIntentsRequest(intents=[intents[0], anonymous]), metadata=ours
        )
        ids = [result.error.correlation_id async for result in call]
        assert ids == [CORRELATION, OTHER]
        empty = intent_pb2.ModelIntent(intent_id="no uuid")
        with pytest.raises(ContractValidationError) as caught:
            async for _ in processes.effect.ExecuteIntents(
                effect_pb2.ExecuteIntentsRequest(intents=[empty])
            ):
                pass
    assert [result.intent_id for result in (results[0], results[-1])] == [
        intents[2].intent_id,
        intents[1].intent_id,
    ]
    failed = next(r for r in results if r.status == intent_pb2.INTENT_STATUS_FAILED)
    assert (failed.intent_id, failed.error.reason) == (intents[0].intent_id, "UNAVAILABLE")
    assert failed.error.message == "attempt 2 failed"
    published = next(r for r in results if r.intent_id == intents[3].intent_id)
    assert data.unpack(published.result) == intents[3].intent_id
    assert {v.field for v in caught.value.violations} >= {"intents[0].intent_id"}


async def test_a_killed_effect_node_does_nothing_twice(processes: Processes) -> None:
    names = [f"n{number}" for number in range(60)]
    for name in names:
        await processes.reducer.ExecuteReduction(
            emission(name, journal(name), mail(name), event(name))
        )
    total = 3 * len(names)
    for share in (0.2, 0.5, 0.8):
        async with processes.process("Worker", "effect") as worker:
            await processes.completed(share * total)
            await worker.kill()
    async with processes.process("Worker", "effect"):
        stats = await processes.until(lambda stats: stats.completed + stats.dead == total)
    assert stats.dead == 0
    expected = Counter(names)
    assert processes.journal() == processes.mails() == await processes.events() == expected


async def test_what_must_not_be_repeated_is_not_after_a_kill(processes: Processes) -> None:
    done = processes.folder / "done"
    async with processes.process("Once", "effect") as worker:
        await processes.reducer.ExecuteReduction(emission("a", custom("pay")))
        while not (done.exists() and done.stat().st_size):  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.005)
        await worker.kill()
    async with processes.process("Once", "effect"):
        await processes.until(lambda stats: stats.dead == 1)
        dead = await processes.queue.ListIntents(
            intent_pb2.ListIntentsRequest(status=intent_pb2.INTENT_STATUS_DEAD)
        )
    assert done.read_text() == "pay\n"
    assert dead.intents[0].last_error.reason == "OUTCOME_UNKNOWN"


async def test_a_killed_reducer_is_found_again(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(processes.mesh.close)
        await stack.enter_async_context(processes.process("Log", "orchestrator"))
        reducer = await stack.enter_async_context(processes.process("Emitter", "reducer"))
        worker = await stack.enter_async_context(processes.process("Worker", "effect"))
        names = [f"n{number}" for number in range(40)]
        for name in names:
            await processes.reducer.ExecuteReduction(emission(name, journal(name), mail(name)))
        await reducer.kill()
        health = await processes.degraded()
        assert dict(health.dependencies) == {"reducer": False}
        await stack.enter_async_context(processes.process("Emitter", "reducer"))
        stats = await processes.until(lambda stats: stats.completed + stats.dead == 80)
        assert stats.dead == 0
        assert processes.journal() == processes.mails() == Counter(names)
        # One line when the queue is lost, however often the worker tries.
        log = worker.log.read_text()
        assert log.count("is lost") == 1


async def test_a_reducer_that_stops_is_not_lost(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(processes.mesh.close)
        await stack.enter_async_context(processes.process("Log", "orchestrator"))
        reducer = await stack.enter_async_context(processes.process("Emitter", "reducer"))
        worker = await stack.enter_async_context(processes.process("Worker", "effect"))
        await processes.reducer.ExecuteReduction(emission("a", journal("a")))
        await processes.completed(1)
        await reducer.stop()
        await stack.enter_async_context(processes.process("Emitter", "reducer"))
        await processes.reducer.ExecuteReduction(emission("b", journal("b")))
        await processes.completed(2)
        log = worker.log.read_text()
        assert "is lost" not in log
        assert log.count("queue reducer does not serve now") == 1
