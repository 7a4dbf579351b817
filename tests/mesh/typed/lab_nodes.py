"""Typed nodes of all forms, for this process and for others."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.v1 import numbers_onex, numbers_pb2, post_onex, post_pb2

from onex.v1 import operation_pb2
from onex_grpc.context import current_call
from onex_grpc.errors import ContractValidationError, UnavailableError, Violation

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from onex_grpc.container import ModelONEXContainer
    from onex_grpc.typed import EffectCall


class Numbers(numbers_onex.NumbersCompute):
    def __init__(self, container: ModelONEXContainer) -> None:
        super().__init__(container)
        self.rolls = 0
        self.released = asyncio.Event()

    def add(self, request: numbers_pb2.AddRequest) -> numbers_pb2.AddResponse:
        if request.left < 0:
            raise ContractValidationError.of(Violation("left", "is negative"))
        if request.right < 0:
            raise RuntimeError("a fault of the user's own")
        call = current_call()
        assert call is not None
        about = f"{call.correlation_id} {call.caller} {call.lease} {request.correlation_id}"
        return numbers_pb2.AddResponse(sum=request.left + request.right, context=about)

    def grind(self, request: numbers_pb2.GrindRequest) -> numbers_pb2.GrindResponse:
        time.sleep(request.takes.ToNanoseconds() / 1e9)
        return numbers_pb2.GrindResponse(thread=threading.current_thread().name)

    def roll(self, request: numbers_pb2.RollRequest) -> numbers_pb2.RollResponse:
        self.rolls += 1
        return numbers_pb2.RollResponse(run=self.rolls)

    def count(self, request: numbers_pb2.CountRequest) -> Iterator[numbers_pb2.CountResponse]:
        try:
            for number in range(1, request.upto + 1):
                if number == request.fail_at:
                    raise ContractValidationError.of(Violation("fail_at", "is reached"))
                yield numbers_pb2.CountResponse(number=number)
        finally:
            self.released.set()

    async def total(
        self, requests: AsyncIterator[numbers_pb2.TotalRequest]
    ) -> numbers_pb2.TotalResponse:
        return numbers_pb2.TotalResponse(sum=sum([each.number async for each in requests]))

    async def running(
        self, requests: AsyncIterator[numbers_pb2.RunningRequest]
    ) -> AsyncGenerator[numbers_pb2.RunningResponse, None]:
        total = 0
        try:
            async for request in requests:
                total += request.number
                yield numbers_pb2.RunningResponse(sum=total)
        finally:
            self.released.set()

    def wrong(self, request: numbers_pb2.WrongRequest) -> numbers_pb2.WrongResponse:
        return numbers_pb2.AddResponse()  # type: ignore[return-value]


class Post(post_onex.PostEffect):
    def __init__(self, container: ModelONEXContainer) -> None:
        super().__init__(container)
        self.sent: list[str] = []
        self.tries = 0
        self.released = asyncio.Event()

    async def send(self, request: post_pb2.SendRequest, call: EffectCall) -> post_pb2.SendResponse:
        self.sent.append(request.text)
        return post_pb2.SendResponse(number=len(self.sent), key=call.idempotency_key)

    async def note(self, request: post_pb2.NoteRequest, call: EffectCall) -> post_pb2.NoteResponse:
        attempt = _attempt(request.name)
        await self.perform(call, "journal", _row(f"{request.name} begins"))
        _crash("after-one", request, attempt)
        await self.perform(call, "journal", _row(f"{request.name} ends"))
        await self.perform(call, "archive", _row(request.name))
        _crash("after-all", request, attempt)
        return post_pb2.NoteResponse(attempt=attempt)

    async def flaky(
        self, request: post_pb2.FlakyRequest, call: EffectCall
    ) -> post_pb2.FlakyResponse:
        self.tries += 1
        if self.tries <= request.failures:
            raise UnavailableError("not yet")
        return post_pb2.FlakyResponse(attempts=self.tries)

    async def stuck(
        self, request: post_pb2.StuckRequest, call: EffectCall
    ) -> post_pb2.StuckResponse:
        await asyncio.Event().wait()
        return post_pb2.StuckResponse()

    async def follow(
        self, request: post_pb2.FollowRequest, call: EffectCall
    ) -> AsyncGenerator[post_pb2.FollowResponse, None]:
        try:
            for number in range(request.count or 1_000_000_000):
                yield post_pb2.FollowResponse(text=f"news {number}{call.idempotency_key}")
            if request.fail:
                raise RuntimeError("a fault of the user's own")
        finally:
            self.released.set()

    async def collect(
        self, requests: AsyncIterator[post_pb2.CollectRequest], call: EffectCall
    ) -> post_pb2.CollectResponse:
        return post_pb2.CollectResponse(text=" ".join([each.text async for each in requests]))

    async def chat(
        self, requests: AsyncIterator[post_pb2.ChatRequest], call: EffectCall
    ) -> AsyncGenerator[post_pb2.ChatResponse, None]:
        try:
            async for request in requests:
                yield post_pb2.ChatResponse(text=f"{request.text}!")
        finally:
            self.released.set()


def _row(text: str) -> operation_pb2.EffectOperation:
    operation = operation_pb2.EffectOperation()
    insert = operation.database.statements.add().insert
    insert.table = "lines"
    insert.row.columns["text"].string_value = text
    return operation


def _attempt(name: str) -> int:
    """Counts the attempts across processes, in a file beside the others."""
    place = Path(f"attempts-of-{name}")
    place.write_text(place.read_text() + "." if place.exists() else ".")
    return len(place.read_text())


def _crash(when: str, request: post_pb2.NoteRequest, attempt: int) -> None:
    if request.crash == when and attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
