"""What a durable workflow of three calls costs without any SDK: bare grpc.aio, and a group commit
on SQLite FULL, whose log is written out to its working size as that of the SDK's stores is.

One process is the node, one the orchestrator: per workflow one call in, three calls out, four
commits. Run as
`python -m bench.bare_workflow node` or `… orchestrator NODE_ADDRESS DATABASE`; prints its port.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import apsw
import grpc
import uvloop

from onex.v1 import (
    compute_pb2,
    compute_pb2_grpc,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
)
from onex_grpc.store.sqlite.connection import grow_wal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_BATCH = 256


class _Writer:
    """Commits rows in the order in which they come, all that wait in one transaction."""

    def __init__(self, path: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[tuple[str, bytes, asyncio.Future[None]]] = SimpleQueue()
        self._db = apsw.Connection(path)
        self._db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE state (id INTEGER PRIMARY KEY, key TEXT, value BLOB)")
        grow_wal(Path(path))
        threading.Thread(target=self._write, daemon=True).start()

    async def commit(self, key: str, value: bytes) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((key, value, done))
        await done

    def _write(self) -> None:
        while True:
            batch = [self._queue.get()]
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            self._db.execute("BEGIN IMMEDIATE")
            for key, value, _ in batch:
                self._db.execute("INSERT INTO state (key, value) VALUES (?, ?)", (key, value))
            self._db.execute("COMMIT")
            self._loop.call_soon_threadsafe(_finish, [done for _, _, done in batch])


def _finish(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


class _Node(compute_pb2_grpc.ComputeNodeServiceServicer):
    async def ExecuteCompute(
        self, request: compute_pb2.ModelContractCompute, context: object
    ) -> compute_pb2.ModelComputeOutput:
        return compute_pb2.ModelComputeOutput(
            correlation_id=request.correlation_id, processed_data=request.input_data
        )

    def ExecuteComputeStream(
        self, request_iterator: AsyncIterator[compute_pb2.ModelContractCompute], context: object
    ) -> AsyncIterator[compute_pb2.ModelComputeOutput]:
        raise NotImplementedError


class _Orchestrator(orchestrator_pb2_grpc.OrchestratorNodeServiceServicer):
    def __init__(self, node: str, writer: _Writer) -> None:
        self._node = compute_pb2_grpc.ComputeNodeServiceStub(grpc.aio.insecure_channel(node))
        self._writer = writer

    async def ExecuteOrchestration(
        self, request: orchestrator_pb2.ModelContractOrchestrator, context: object
    ) -> orchestrator_pb2.ModelOrchestratorOutput:
        await self._writer.commit(request.workflow_id, request.SerializeToString())
        for step in request.workflow_config.steps:
            output = await self._node.ExecuteCompute(step.compute)
            await self._writer.commit(request.workflow_id, output.SerializeToString())
        return orchestrator_pb2.ModelOrchestratorOutput(workflow_id=request.workflow_id)

    async def ExecuteAction(
        self, request: orchestrator_pb2.ExecuteActionRequest, context: object
    ) -> orchestrator_pb2.ExecuteActionResponse:
        raise NotImplementedError

    def StreamOrchestration(
        self,
        request_iterator: AsyncIterator[orchestrator_pb2.ModelContractOrchestrator],
        context: object,
    ) -> AsyncIterator[orchestrator_pb2.ModelOrchestratorOutput]:
        raise NotImplementedError


async def _serve(arguments: list[str]) -> None:
    server = grpc.aio.server()
    if arguments[0] == "node":
        compute_pb2_grpc.add_ComputeNodeServiceServicer_to_server(_Node(), server)
    else:
        _, node, database = arguments
        servicer = _Orchestrator(node, _Writer(database))
        orchestrator_pb2_grpc.add_OrchestratorNodeServiceServicer_to_server(servicer, server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(sys.argv[1:]))
