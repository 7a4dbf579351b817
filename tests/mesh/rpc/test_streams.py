"""Calls with streams, over sockets and in this process."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import grpc
import pytest

from onex_grpc.context import CallContext, enter_call
from onex_grpc.errors import ContractValidationError, DeadlineExceededError, OnexError
from tests.mesh.rpc.probe import SECRET, Request, ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.mesh.rpc.conftest import Node

CORRELATION = "6f9619ff-8b86-4011-b42d-00c04fc964ff"


async def _requests(*requests: Request) -> AsyncIterator[Request]:
    for request in requests:
        yield request


async def test_stream_of_responses(node: Node) -> None:
    found = [r async for r in node.stream_stub.Count(ask("count", CORRELATION, size=100))]
    assert [r.correlation_id for r in found] == [CORRELATION] * 100


async def test_reading_one_by_one(node: Node) -> None:
    call = node.stream_stub.Count(ask("count", size=1))
    assert await call.read() is not grpc.aio.EOF
    assert await call.read() is grpc.aio.EOF


async def test_error_ends_a_stream_after_its_messages(node: Node) -> None:
    call = node.stream_stub.Count(ask("fail", size=2))
    assert await call.read() is not grpc.aio.EOF
    assert await call.read() is not grpc.aio.EOF
    with pytest.raises(OnexError, match="internal error") as caught:
        await call.read()
    assert SECRET not in str(caught.value)


async def test_letting_go_of_a_stream_ends_its_handler(node: Node) -> None:
    async for _ in node.stream_stub.Count(ask("hold", size=1)):
        break
    await asyncio.wait_for(node.streams.closed.wait(), 5)


async def test_deadline_of_a_stream(node: Node) -> None:
    call = node.stream_stub.Count(ask("hold", size=1), timeout=0.2)
    await call.read()
    with pytest.raises(DeadlineExceededError):
        await call.read()
    await asyncio.wait_for(node.streams.closed.wait(), 5)


async def test_request_of_a_stream_is_checked(node: Node) -> None:
    with pytest.raises(ContractValidationError):
        await node.stream_stub.Count(ask("")).read()


async def test_stream_of_requests_from_an_iterator(node: Node) -> None:
    enter_call(CallContext(CORRELATION))
    response = await node.stream_stub.Collect(_requests(ask("a"), ask("b"), ask("c")))
    assert response.correlation_id == CORRELATION
    assert [r.algorithm_config.algorithm_type for r in node.streams.received] == ["a", "b", "c"]


async def test_stream_of_requests_written_one_by_one(node: Node) -> None:
    call = node.stream_stub.Collect()
    for name in ("a", "b"):
        await call.write(ask(name))
    await call.done_writing()
    await call
    assert len(node.streams.received) == 2


async def test_each_message_of_a_stream_is_checked(node: Node) -> None:
    call = node.stream_stub.Echo()
    await call.write(ask("a"))
    assert await call.read() is not grpc.aio.EOF
    await call.write(ask(""))
    with pytest.raises(ContractValidationError):
        await call.read()
    assert len(node.streams.received) == 1


async def test_message_of_a_stream_with_another_correlation_id(node: Node) -> None:
    call = node.stream_stub.Echo()
    await call.write(ask("a", str(uuid.UUID(int=1))))
    with pytest.raises(ContractValidationError, match="differs from the header"):
        await call.read()


async def test_streams_both_ways(node: Node) -> None:
    enter_call(CallContext(CORRELATION))
    call = node.stream_stub.Echo()
    for _ in range(40):
        await call.write(ask("a"))
        response = await call.read()
        assert getattr(response, "correlation_id", "") == CORRELATION
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_cancelling_a_stream(node: Node) -> None:
    call = node.stream_stub.Count(ask("hold", size=1))
    await call.read()
    assert call.cancel()
    await asyncio.wait_for(node.streams.closed.wait(), 5)


async def test_writer_learns_why_its_call_ended(node: Node) -> None:
    call = node.stream_stub.Collect()
    await call.write(ask(""))
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(ContractValidationError):
        await call.write(ask("a"))


async def test_a_reader_learns_why_its_call_ended_while_requests_were_on_their_way(
    node: Node,
) -> None:
    async def requests() -> AsyncIterator[Request]:
        yield ask("")
        for _ in range(20):
            yield ask("a", size=1_000)

    for _ in range(100):
        with pytest.raises(ContractValidationError):
            [response async for response in node.stream_stub.Echo(requests())]
        with pytest.raises(ContractValidationError):
            await node.stream_stub.Collect(requests())
