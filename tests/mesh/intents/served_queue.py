"""A queue over a socket, and stores that wait or fail when a test says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from onex.v1 import error_pb2, intent_pb2, intent_pb2_grpc
from onex_grpc.intent import IntentQueue
from onex_grpc.rpc import CallRuntime, Mesh, Server, ServerOptions
from onex_grpc.telemetry import NO_TELEMETRY
from tests.unit.intent.bench import QueueBench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from onex_grpc.store.protocol import Store

Request = intent_pb2.TakeIntentsRequest
Response = intent_pb2.TakeIntentsResponse


class ServedQueue(QueueBench):
    """A queue behind a socket of this process."""

    def __init__(self, store: Store, visibility: float = 30.0) -> None:
        super().__init__(store, visibility)
        self.runtime = CallRuntime(node="reducer/test", telemetry=NO_TELEMETRY)
        self.socket = Server(self.runtime, ServerOptions())
        queue = IntentQueue(store, self.runtime.until_draining, visibility)
        self.socket.add(intent_pb2_grpc.add_IntentQueueServiceServicer_to_server, queue)
        self.address = ""

    async def start(self) -> None:
        """Begin to serve."""
        self.address = f"127.0.0.1:{await self.socket.start()}"
        self.mesh = Mesh({"reducer": self.address}, caller="effect/test")
        self.stub = self.mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, "reducer")

    async def drain(self) -> None:
        """Stop as a process does that is told to end."""
        await self.socket.drain(5.0)

    async def close(self) -> None:
        """End the queue."""
        await self.socket.drain(1.0)
        await self.mesh.close()


class LocalQueue(QueueBench):
    """A queue that is reached in this process."""

    async def start(self) -> None:
        """Nothing has to begin."""

    async def drain(self) -> None:
        """Stop as a process does that is told to end."""
        await self.server.drain(5.0)


class HeldStore:
    """A real store of which one method waits before it does its work, and may fail instead."""

    def __init__(self, store: Store, method: str) -> None:
        self._store = store
        self._method = method
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> object:
        found = getattr(self._store, name)
        if name != self._method:
            return found

        async def held(*arguments: object) -> object:
            self.reached.set()
            await self.go_on.wait()
            if self.error is not None:
                raise self.error
            return await found(*arguments)

        return held


def held(store: Store, method: str) -> tuple[HeldStore, Store]:
    """The store whose method waits, and the same as its users see it."""
    holding = HeldStore(store, method)
    return holding, cast("Store", holding)


def hello(*tokens: str, worker: str = "effect/test") -> Request:
    """The first message of a worker that holds these claims."""
    return Request(hello=intent_pb2.TakeIntentsHello(worker=worker, held_claim_tokens=tokens))


def credit(count: int) -> Request:
    """Room for so many intents."""
    return Request(credit=intent_pb2.TakeIntentsCredit(count=count))


def complete(token: str) -> Request:
    """The report of an executed intent."""
    return Request(complete=intent_pb2.TakeIntentsComplete(claim_token=token))


def extend(token: str) -> Request:
    """The wish for more time."""
    return Request(extend=intent_pb2.TakeIntentsExtend(claim_token=token))


def fail(token: str, *, terminal: bool) -> Request:
    """The report of a failed attempt."""
    error = error_pb2.ErrorDetail(reason="UNAVAILABLE", message="down")
    failed = intent_pb2.TakeIntentsFail(claim_token=token, error=error, terminal=terminal)
    return Request(fail=failed)


GOODBYE = Request(goodbye=intent_pb2.TakeIntentsGoodbye())


class Worker:
    """A worker that says and hears what a test wants."""

    def __init__(self, queue: QueueBench) -> None:
        self.call = queue.stub.TakeIntents()

    async def say(self, *messages: Request) -> None:
        """Send messages."""
        for message in messages:
            await self.call.write(message)

    async def half_close(self) -> None:
        """Say that no more requests come."""
        await self.call.done_writing()

    async def take(self, count: int) -> Sequence[str]:
        """Return the claim tokens of so many deliveries."""
        tokens = []
        for _ in range(count):
            response = cast("Response", await self.call.read())
            assert response.HasField("delivery"), response
            tokens.append(response.delivery.claim_token)
        return tokens

    async def confirmed(self) -> intent_pb2.IntentSettled:
        """Return the next answer, to a report."""
        response = cast("Response", await self.call.read())
        assert response.HasField("settled"), response
        return response.settled

    async def rest(self) -> Sequence[Response]:
        """Return all that comes until the stream ends well."""
        return [response async for response in cast("AsyncIterator[Response]", self.call)]
