"""A queue of intents, its store, and the means to fill and to watch it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from onex.v1 import common_pb2, intent_pb2, intent_pb2_grpc, operation_pb2
from onex_grpc.contract.route import route_of
from onex_grpc.intent import IntentQueue, IntentWorker
from onex_grpc.rpc import CallRuntime, LocalServer, Mesh
from onex_grpc.store.model import Commit, FenceOnly, IntentState, NewIntent
from onex_grpc.telemetry import NO_TELEMETRY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from onex_grpc.intent.worker import Execute
    from onex_grpc.store.protocol import Store

CORRELATION = "7f3c1c9e-2a8e-4a55-9d3c-0a8f6f8d2b11"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def intent(
    name: str, priority: int = 3, retries: int = 4, order_key: str = "", target: str = "files"
) -> intent_pb2.ModelIntent:
    """An intent whose file path is its name, repeated after milliseconds."""
    policy = common_pb2.RetryPolicy(max_retries=retries)
    policy.initial_backoff.FromMilliseconds(1)
    file = operation_pb2.FileOperation(path=name, delete=operation_pb2.FileDelete())
    return intent_pb2.ModelIntent(
        intent_id=str(uuid4()),
        intent_type=intent_pb2.INTENT_TYPE_FILE_OPERATION,
        target=target,
        payload=operation_pb2.EffectOperation(file=file),
        priority=intent_pb2.IntentPriority.ValueType(priority),
        correlation_id=CORRELATION,
        retry_policy=policy,
        order_key=order_key,
    )


def name_of(given: intent_pb2.ModelIntent) -> str:
    """The name with which `intent` was called."""
    return given.payload.file.path


class QueueBench:
    """A queue over a store, served in this process."""

    def __init__(self, store: Store, visibility: float = 30.0) -> None:
        self.store = store
        self.runtime = CallRuntime(node="reducer/test", telemetry=NO_TELEMETRY)
        self.server = LocalServer(self.runtime)
        queue = IntentQueue(store, self.runtime.until_draining, visibility)
        self.server.add(intent_pb2_grpc.add_IntentQueueServiceServicer_to_server, queue)
        self.mesh = Mesh({"reducer": self.server}, caller="effect/test")
        self.stub = self.mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, "reducer")

    async def emit(self, *intents: intent_pb2.ModelIntent) -> None:
        """Commits intents as a reducer does."""
        new = [
            NewIntent(
                intent_id=given.intent_id,
                priority=given.priority,
                max_attempts=given.retry_policy.max_retries + 1,
                payload=given.SerializeToString(),
                correlation_id=given.correlation_id,
                traceparent=TRACEPARENT,
                order_key=given.order_key,
                route=route_of(given),
            )
            for given in intents
        ]
        await self.store.commit(
            Commit(
                key=f"state/{UUID(int=uuid4().int)}",
                expect=FenceOnly(),
                state=b"",
                state_type="",
                intents=new,
            )
        )

    @asynccontextmanager
    async def working(
        self,
        execute: Execute,
        in_flight: int = 32,
        name: str = "effect/test",
        accepts: Sequence[str] = (),
    ) -> AsyncIterator[IntentWorker]:
        """A worker while the block runs."""
        worker = IntentWorker(
            mesh=self.mesh,
            queue="reducer",
            worker=name,
            execute=execute,
            accepts=accepts,
            in_flight=in_flight,
        )
        worker.start()
        try:
            yield worker
        finally:
            await worker.stop(1.0)

    async def until(self, settled: Callable[[intent_pb2.GetQueueStatsResponse], bool]) -> None:
        """Returns when the figures of the queue are as they should be."""
        # The figures of a queue cannot be awaited.
        while not settled(await self.stub.GetQueueStats(intent_pb2.GetQueueStatsRequest())):  # noqa: ASYNC110
            await asyncio.sleep(0.002)

    async def listed(self, state: IntentState) -> Sequence[intent_pb2.QueuedIntent]:
        """The intents of one status."""
        status = intent_pb2.IntentStatus.ValueType(state)
        response = await self.stub.ListIntents(intent_pb2.ListIntentsRequest(status=status))
        return list(response.intents)

    async def runtime_idle(self) -> None:
        """Returns when no call is being handled."""
        while self.runtime.in_flight:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Ends the queue."""
        await self.server.drain(1.0)
        await self.mesh.close()
