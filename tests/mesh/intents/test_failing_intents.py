"""Whatever an intent fails with is reported: its worker is free again, and the queue keeps why."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from onex.v1 import error_pb2, intent_pb2, intent_pb2_grpc
from onex_grpc.errors import NotFoundError, OnexError, Status
from onex_grpc.intent import IntentQueue, IntentWorker
from onex_grpc.rpc import CallRuntime, ClientOptions, LocalServer, Mesh, Server, ServerOptions
from onex_grpc.rpc.detail import MOST_BYTES
from onex_grpc.store.model import Commit, FenceOnly, IntentState, NewIntent
from onex_grpc.store.opening import open_store
from onex_grpc.telemetry import NO_TELEMETRY
from tests.mesh.rpc.test_errors import KINDS
from tests.unit.intent.bench import CORRELATION, intent, name_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from onex_grpc.store.protocol import Store

FINE = [f"fine-{number}" for number in range(5)]


class Queue:
    """A queue of intents, served over a socket or in this process."""

    def __init__(self, store: Store, mesh: Mesh) -> None:
        self.store = store
        self.mesh = mesh
        self.stub = mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, "reducer")

    async def emit(self, *names: str) -> None:
        """Puts intents into the queue, repeated once."""
        intents = [intent(name, retries=1) for name in names]
        new = [
            NewIntent(
                intent_id=each.intent_id,
                priority=each.priority,
                max_attempts=2,
                payload=each.SerializeToString(),
                correlation_id=each.correlation_id,
            )
            for each in intents
        ]
        key = f"state/{uuid4()}"
        await self.store.commit(
            Commit(key=key, expect=FenceOnly(), state=b"", state_type="", intents=new)
        )

    async def until_settled(self, count: int) -> None:
        """Returns when so many intents are over."""
        while True:
            stats = await self.stub.GetQueueStats(intent_pb2.GetQueueStatsRequest())
            if stats.completed + stats.dead == count:
                return
            await asyncio.sleep(0.01)

    async def dead(self) -> Sequence[intent_pb2.QueuedIntent]:
        """The dead letters."""
        status = intent_pb2.IntentStatus.ValueType(IntentState.DEAD)
        response = await self.stub.ListIntents(intent_pb2.ListIntentsRequest(status=status))
        return list(response.intents)


@asynccontextmanager
async def serving(folder: Path, local: bool, message_bytes: int = 4 << 20) -> AsyncIterator[Queue]:
    store = await open_store(folder / "reducer.db")
    runtime = CallRuntime(node="reducer/test", telemetry=NO_TELEMETRY)
    server: LocalServer | Server
    if local:
        server = LocalServer(runtime, message_bytes=message_bytes)
    else:
        server = Server(runtime, ServerOptions(message_bytes=message_bytes))
    queue = IntentQueue(store, runtime.until_draining, 30.0)
    server.add(intent_pb2_grpc.add_IntentQueueServiceServicer_to_server, queue)
    where = server if isinstance(server, LocalServer) else f"127.0.0.1:{await server.start()}"
    options = ClientOptions(message_bytes=4 << 20)
    async with Mesh({"reducer": where}, caller="effect/test", options=options) as mesh:
        yield Queue(store, mesh)
    await server.drain(1.0)
    await store.close()


async def work(queue: Queue, error: BaseException, count: int) -> None:
    """Has a worker with two places execute what is in the queue; all but FINE fails."""

    async def execute(given: intent_pb2.ModelIntent) -> None:
        if name_of(given) not in FINE:
            raise error

    worker = IntentWorker(
        mesh=queue.mesh, queue="reducer", worker="effect/test", execute=execute, in_flight=2
    )
    worker.start()
    async with asyncio.timeout(30):
        await queue.until_settled(count)
    assert worker.reachable
    await worker.stop(1.0)


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_the_place_of_a_failed_intent_is_free_again(
    tmp_path: Path, local: bool, kind: str
) -> None:
    make, _, text = KINDS[kind]
    error = make()
    async with serving(tmp_path, local) as queue:
        await queue.emit("bad-1", "bad-2", "bad-3", *FINE)
        await work(queue, error, 8)
        dead = await queue.dead()
    assert sorted(name_of(each.intent) for each in dead) == ["bad-1", "bad-2", "bad-3"]
    for each in dead:
        assert each.attempts <= 2
        assert each.last_error.ByteSize() <= MOST_BYTES
        assert each.last_error.correlation_id == CORRELATION
        if isinstance(error, OnexError):
            assert each.last_error.message.startswith(text)


@pytest.mark.parametrize("local", [True, False])
async def test_a_report_too_large_for_the_stream_is_sent_shorter(
    tmp_path: Path, local: bool
) -> None:
    context = {f"k{number}": "v" * 1000 for number in range(20)}
    error = NotFoundError("m" * 8000, context=context, correlation_id="no id")
    async with serving(tmp_path, local, message_bytes=4096) as queue:
        await queue.emit("bad", *FINE)
        await work(queue, error, 6)
        (dead,) = await queue.dead()
    assert dead.last_error.reason == "NOT_FOUND"
    assert dead.last_error.message.startswith("mmm")


async def test_ids_that_are_none_are_not_reported(tmp_path: Path) -> None:
    error = NotFoundError("m", correlation_id="no id")
    error.causes = [NotFoundError("c", correlation_id="none either")]
    async with serving(tmp_path, local=False) as queue:
        await queue.emit("bad", *FINE)
        await work(queue, error, 6)
        (dead,) = await queue.dead()
    assert dead.last_error.causes[0].message == "c"


async def test_errors_of_workers_of_others_are_bounded(tmp_path: Path) -> None:
    detail = error_pb2.ErrorDetail(
        reason="ELSEWHERE", message="m" * 3_000_000, status_code=Status.NOT_FOUND
    )
    inner = detail
    for _ in range(60):
        inner = inner.causes.add(reason="INNER")
    async with serving(tmp_path, local=False) as queue:
        await queue.emit("bad")
        call = queue.stub.TakeIntents(timeout=20)
        hello = intent_pb2.TakeIntentsHello(worker="effect/other")
        await call.write(intent_pb2.TakeIntentsRequest(hello=hello))
        credit = intent_pb2.TakeIntentsCredit(count=1)
        await call.write(intent_pb2.TakeIntentsRequest(credit=credit))
        answer: Any = await call.read()
        fail = intent_pb2.TakeIntentsFail(
            claim_token=answer.delivery.claim_token, error=detail, terminal=True
        )
        await call.write(intent_pb2.TakeIntentsRequest(fail=fail))
        answer = await call.read()
        assert answer.settled.status == intent_pb2.INTENT_STATUS_DEAD
        call.cancel()
        (dead,) = await queue.dead()
    assert dead.last_error.ByteSize() <= MOST_BYTES
    assert dead.last_error.reason == "ELSEWHERE"
