"""Whatever the code of a node raises arrives, of all kinds, by both doors and in each form."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import pytest
from google.protobuf.wrappers_pb2 import BytesValue, StringValue
from lab.v1 import numbers_pb2, post_pb2
from lab.v1.numbers_onex import NumbersClient
from lab.v1.post_onex import PostClient
from ledger.v1 import ledger_pb2
from ledger.v1.ledger_onex import LedgerClient

from onex.v1 import (
    compute_pb2,
    compute_pb2_grpc,
    effect_pb2,
    effect_pb2_grpc,
    intent_pb2,
    node_pb2,
    reducer_pb2,
    reducer_pb2_grpc,
)
from onex_grpc.contract.data import pack
from onex_grpc.errors import OnexError, ResourceExhaustedError
from onex_grpc.node import NodeEffect
from onex_grpc.testing.mesh import LocalMesh
from tests.mesh.rpc.probe import SECRET
from tests.mesh.rpc.test_errors import KINDS
from tests.mesh.typed.lab_nodes import Numbers, Post
from tests.mesh.typed.lab_serving import serving
from tests.mesh.typed.ledger_nodes import Audit, Ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from onex_grpc.effect import CustomCall, CustomOperations
    from onex_grpc.rpc import Mesh


TRIED = ("surrogate", "number", "huge", "circle", "later", "mute", "python", "unprintable")


class Failure:
    """With what the nodes of this module fail."""

    kind: ClassVar[str] = ""

    @classmethod
    def raised(cls) -> NoReturn:
        raise KINDS[cls.kind][0]()


class BadNumbers(Numbers):
    def add(self, request: Any) -> Any:
        Failure.raised()

    def count(self, request: Any) -> Any:
        yield numbers_pb2.CountResponse(number=1)
        Failure.raised()

    async def total(self, requests: Any) -> Any:
        Failure.raised()

    async def running(self, requests: Any) -> Any:
        async for _ in requests:
            yield numbers_pb2.RunningResponse(sum=1)
        Failure.raised()


class BadPost(Post):
    async def send(self, request: Any, call: Any) -> Any:
        Failure.raised()

    async def follow(self, request: Any, call: Any) -> Any:
        yield post_pb2.FollowResponse(text="news")
        Failure.raised()

    async def collect(self, requests: Any, call: Any) -> Any:
        Failure.raised()

    async def chat(self, requests: Any, call: Any) -> Any:
        async for _ in requests:
            yield post_pb2.ChatResponse(text="!")
        Failure.raised()


class BadLedger(Ledger):
    def book(self, state: Any, request: Any, action: Any) -> Any:
        Failure.raised()

    def split(self, state: Any, request: Any, action: Any) -> Any:
        Failure.raised()


async def drained(stream: Any) -> None:
    async for _ in stream:
        pass


def computing(rpc: str, request: Any) -> compute_pb2.ModelContractCompute:
    made = compute_pb2.ModelContractCompute()
    made.algorithm_config.algorithm_type = f"lab.v1.NumbersService/{rpc}"
    made.input_data.message.Pack(request)
    return made


def effecting(request: Any) -> effect_pb2.ModelContractEffect:
    made = effect_pb2.ModelContractEffect()
    made.io_operation_config.operation.custom.Pack(request)
    return made


def booking(rpc: str, request: Any) -> reducer_pb2.ModelContractReducer:
    return reducer_pb2.ModelContractReducer(
        action_id=str(uuid.uuid4()),
        reduction_config=reducer_pb2.ReductionConfig(state_key="a"),
        input_data=reducer_pb2.ReducerInput(action=rpc, payload=pack(request)),
    )


COMPUTES: dict[str, Any] = {
    "add": lambda m: NumbersClient(m).add(numbers_pb2.AddRequest()),
    "count": lambda m: drained(NumbersClient(m).count(numbers_pb2.CountRequest(upto=2))),
    "total": lambda m: NumbersClient(m).total([numbers_pb2.TotalRequest()]),
    "running": lambda m: drained(NumbersClient(m).running([numbers_pb2.RunningRequest()])),
    "generic": lambda m: m.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute").ExecuteCompute(
        computing("Add", numbers_pb2.AddRequest())
    ),
    "generic stream": lambda m: drained(
        m.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute").ExecuteComputeStream(
            iter([computing("Count", numbers_pb2.CountRequest(upto=2))])
        )
    ),
}
EFFECTS: dict[str, Any] = {
    "send": lambda m: PostClient(m).send(post_pb2.SendRequest(text="a")),
    "follow": lambda m: drained(PostClient(m).follow(post_pb2.FollowRequest(count=2))),
    "collect": lambda m: PostClient(m).collect([post_pb2.CollectRequest(text="a")]),
    "chat": lambda m: drained(PostClient(m).chat([post_pb2.ChatRequest(text="a")])),
    "generic": lambda m: m.stub(effect_pb2_grpc.EffectNodeServiceStub, "effect").ExecuteEffect(
        effecting(post_pb2.SendRequest(text="a"))
    ),
    "generic stream": lambda m: drained(
        m.stub(effect_pb2_grpc.EffectNodeServiceStub, "effect").ExecuteEffectStream(
            iter([effecting(post_pb2.FollowRequest(count=2))])
        )
    ),
}
REDUCERS: dict[str, Any] = {
    "book": lambda m: LedgerClient(m).book(ledger_pb2.BookRequest(account_id="a", amount=1)),
    "split": lambda m: drained(
        LedgerClient(m).split(ledger_pb2.SplitRequest(account_id="a", parts=2))
    ),
    "generic": lambda m: m.stub(
        reducer_pb2_grpc.ReducerNodeServiceStub, "reducer"
    ).ExecuteReduction(booking("Book", ledger_pb2.BookRequest(account_id="a", amount=1))),
    "generic stream": lambda m: drained(
        m.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer").StreamReduction(
            iter([booking("Book", ledger_pb2.BookRequest(account_id="a", amount=1))])
        )
    ),
}
DOORS = [
    *((BadNumbers, call) for call in COMPUTES.values()),
    *((BadPost, call) for call in EFFECTS.values()),
    *((BadLedger, call) for call in REDUCERS.values()),
]
NAMES = [
    f"{n.__name__} {c}"
    for n, d in ((BadNumbers, COMPUTES), (BadPost, EFFECTS), (BadLedger, REDUCERS))
    for c in d
]


@asynccontextmanager
async def reached(node: Any, state: Path, local: bool) -> AsyncIterator[Mesh]:
    if local:
        nodes = [node, Audit] if node is BadLedger else [node]
        async with LocalMesh(nodes, state=state) as mesh:
            yield mesh.mesh
    else:
        async with serving(node, state) as served:
            yield served.mesh


@pytest.mark.parametrize("local", [True, False], ids=["local", "socket"])
@pytest.mark.parametrize("door", DOORS, ids=NAMES)
async def test_failures_of_nodes_arrive(tmp_path: Path, door: Any, local: bool) -> None:
    node, call = door
    async with reached(node, tmp_path, local) as mesh:
        for kind in TRIED:
            _, status, text = KINDS[kind]
            Failure.kind = kind
            with pytest.raises(OnexError) as raised:
                await call(mesh)
            error = raised.value
            if isinstance(KINDS[kind][0](), OnexError):
                assert error.status is status, (kind, error)
                assert text[:100] in error.message, kind
            assert error.correlation_id
            assert SECRET not in repr(vars(error))


class Large(NodeEffect):
    """Does what it is asked, and gives as many bytes back."""

    descriptor = node_pb2.NodeDescriptor(name="large", version="1.0.0")
    done: ClassVar[list[str]] = []

    def register_operations(self, operations: CustomOperations) -> None:
        async def fill(request: StringValue, call: CustomCall) -> BytesValue:
            self.done.append(request.value)
            return BytesValue(value=bytes(int(request.value)))

        operations.add(StringValue, fill)


def filling(size: int) -> intent_pb2.ModelIntent:
    made = intent_pb2.ModelIntent(intent_id=str(uuid.uuid4()))
    made.payload.custom.Pack(StringValue(value=str(size)))
    return made


async def test_a_result_too_large_for_a_message_is_told_of(tmp_path: Path) -> None:
    Large.done.clear()
    request = effect_pb2.ExecuteIntentsRequest(intents=[filling(5_000_000), filling(5)])
    async with serving(Large, tmp_path) as served:
        stub = served.mesh.stub(effect_pb2_grpc.EffectNodeServiceStub, "effect")
        results = [result async for result in stub.ExecuteIntents(request)]
        again = [result async for result in stub.ExecuteIntents(request)]
        with pytest.raises(ResourceExhaustedError, match=r"limits\.message_bytes"):
            await stub.ExecuteEffect(effecting(StringValue(value="5000000")))
    told = {result.intent_id: result for result in results}
    large, small = (told[intent.intent_id] for intent in request.intents)
    assert large.status == small.status == intent_pb2.INTENT_STATUS_COMPLETED
    assert (large.error.reason, large.HasField("result")) == ("RESOURCE_EXHAUSTED", False)
    assert small.HasField("result")
    assert not small.HasField("error")
    assert [result.error.reason for result in again] == [result.error.reason for result in results]
    # Each intent once: a repeat gets what is recorded.
    assert sorted(Large.done) == ["5", "5000000", "5000000"]
