"""Clients that send all, say so, and read only then: nothing that was sent is lost, in process too.

Over sockets, tests/clients/test_forms.py has Node.js do the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from forms.v1 import forms_pb2 as forms

from onex.v1 import reducer_pb2, reducer_pb2_grpc
from onex_grpc.contract import data
from onex_grpc.testing.mesh import LocalMesh
from tests.mesh.typed.forms_nodes import Bookings, Counters, Math, Notebook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import grpc
    from google.protobuf.message import Message

    from onex_grpc.rpc.stream import ClientStream

COUNT = 14
"""As many as fit into flow control's room while nobody reads."""

TOTALS = [n * (n + 1) // 2 for n in range(1, COUNT + 1)]


@pytest.fixture
async def mesh() -> AsyncIterator[LocalMesh]:
    async with LocalMesh([Counters, Math, Notebook, Bookings]) as running:
        yield running


class _Stub:
    """Any method of any service, by its path."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel


def content(message: Message) -> object:
    """The one field that the answers of this contract have."""
    ((_, value),) = message.ListFields()
    return value


def amounts(make: Callable[..., Message]) -> list[Message]:
    return [make(n) for n in range(1, COUNT + 1)]


CASES = [
    ("compute", "Math", "Running", forms.Number, amounts(lambda n: forms.RunningRequest(value=n))),
    (
        "reducer",
        "Counter",
        "Follow",
        forms.Number,
        amounts(lambda n: forms.FollowRequest(tally="a", amount=n)),
    ),
    (
        "orchestrator",
        "Booking",
        "BookEach",
        forms.Number,
        amounts(lambda n: forms.BookEachRequest(booking=f"b{n}", amount=n)),
    ),
    ("effect", "Notebook", "Echo", forms.Line, amounts(lambda n: forms.EchoRequest(text=str(n)))),
]
EXPECTED: dict[str, list[object]] = {
    "compute": list(TOTALS),
    "reducer": list(TOTALS),
    "orchestrator": [2 * n for n in range(1, COUNT + 1)],
    "effect": [str(n) for n in range(1, COUNT + 1)],
}


@pytest.mark.parametrize(("kind", "service", "rpc", "answer", "requests"), CASES)
async def test_streams_both_ways(
    mesh: LocalMesh,
    kind: str,
    service: str,
    rpc: str,
    answer: type[forms.Number | forms.Line],
    requests: list[Message],
) -> None:
    channel = mesh.stub(_Stub, kind).channel
    call: grpc.aio.StreamStreamCall[Message, Message] = channel.stream_stream(
        f"/forms.v1.{service}Service/{rpc}",
        lambda message: message.SerializeToString(),
        answer.FromString,
    )()
    for request in requests:
        await call.write(request)
    await call.done_writing()
    assert [content(each) async for each in call] == EXPECTED[kind]


CLIENT_STREAMS = [
    ("compute", "Math", "Sum", amounts(lambda n: forms.SumRequest(value=n)), TOTALS[-1]),
    (
        "reducer",
        "Counter",
        "AddAll",
        amounts(lambda n: forms.AddAllRequest(tally="c", amount=n)),
        TOTALS[-1],
    ),
    (
        "orchestrator",
        "Booking",
        "BookAll",
        amounts(lambda n: forms.BookAllRequest(booking=f"d{n}", amount=n)),
        2 * COUNT,
    ),
    ("effect", "Notebook", "NoteAll", amounts(lambda n: forms.NoteAllRequest(text="x")), COUNT),
]


@pytest.mark.parametrize(("kind", "service", "rpc", "requests", "expected"), CLIENT_STREAMS)
async def test_streams_of_requests(
    mesh: LocalMesh, kind: str, service: str, rpc: str, requests: list[Message], expected: int
) -> None:
    answer = forms.Noted if kind == "effect" else forms.Number
    channel = mesh.stub(_Stub, kind).channel
    call: grpc.aio.StreamUnaryCall[Message, Message] = channel.stream_unary(
        f"/forms.v1.{service}Service/{rpc}",
        lambda message: message.SerializeToString(),
        answer.FromString,
    )()
    for request in requests:
        await call.write(request)
    await call.done_writing()
    assert content(await call) == expected


async def test_stream_of_reductions(mesh: LocalMesh) -> None:
    stub = mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
    call = cast("ClientStream[reducer_pb2.ModelReducerOutput]", stub.StreamReduction())
    for number in range(1, COUNT + 1):
        request = forms.AddAllRequest(tally="s", amount=number)
        await call.write(
            reducer_pb2.ModelContractReducer(
                input_data=reducer_pb2.ReducerInput(action="AddAll", payload=data.pack(request)),
                reduction_config=reducer_pb2.ReductionConfig(state_key="s"),
            )
        )
    await call.done_writing()
    assert len([output async for output in call]) == COUNT
    state = await stub.GetState(reducer_pb2.GetStateRequest(state_key="s"))
    assert state.version == COUNT
