"""A generated compute node through both doors, over sockets: four forms, errors, limits."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from lab.v1 import numbers_pb2
from lab.v1.numbers_onex import NumbersClient

from onex.v1 import compute_pb2, compute_pb2_grpc
from onex_grpc.context import CallContext, enter_call
from onex_grpc.contract.data import pack, unpack_as
from onex_grpc.errors import (
    AlgorithmNotFoundError,
    ContractValidationError,
    DeadlineExceededError,
    FlowViolationError,
    OnexError,
)
from onex_grpc.rpc import Mesh
from tests.mesh.typed.lab_nodes import Numbers
from tests.mesh.typed.lab_serving import Served, gather, serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

SERVICE = "lab.v1.NumbersService"
M = TypeVar("M", bound=Message)


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncGenerator[Served[Numbers], None]:
    async with serving(Numbers, tmp_path) as served:
        yield served


@pytest.fixture
def client(served: Served[Numbers]) -> NumbersClient:
    return NumbersClient(served.mesh)


@pytest.fixture
def generic(served: Served[Numbers]) -> compute_pb2_grpc.ComputeNodeServiceStub:
    stub: compute_pb2_grpc.ComputeNodeServiceStub = served.mesh.stub(
        compute_pb2_grpc.ComputeNodeServiceStub, "compute"
    )
    return stub


def contract(rpc: str, request: Message) -> compute_pb2.ModelContractCompute:
    return compute_pb2.ModelContractCompute(
        algorithm_config=compute_pb2.AlgorithmConfig(algorithm_type=f"{SERVICE}/{rpc}"),
        input_data=pack(request),
    )


async def stream(
    generic: compute_pb2_grpc.ComputeNodeServiceStub,
    response: type[M],
    *contracts: compute_pb2.ModelContractCompute,
) -> list[M]:
    answers = generic.ExecuteComputeStream(iter(contracts))
    return [unpack_as(output.processed_data, response) async for output in answers]


def numbers(*values: int) -> list[numbers_pb2.TotalRequest]:
    return [numbers_pb2.TotalRequest(number=value) for value in values]


async def test_unary_by_both_doors(
    client: NumbersClient, generic: compute_pb2_grpc.ComputeNodeServiceStub
) -> None:
    request = numbers_pb2.AddRequest(left=2, right=3, correlation_id=7)
    assert (await client.add(request)).sum == 5
    output = await generic.ExecuteCompute(contract("Add", request))
    assert unpack_as(output.processed_data, numbers_pb2.AddResponse).sum == 5
    assert output.performance_metrics.algorithm_type == f"{SERVICE}/Add"


async def test_server_stream_by_both_doors(
    client: NumbersClient, generic: compute_pb2_grpc.ComputeNodeServiceStub
) -> None:
    request = numbers_pb2.CountRequest(upto=3)
    assert [each.number async for each in client.count(request)] == [1, 2, 3]
    again = numbers_pb2.CountRequest(upto=2)
    found = await stream(
        generic, numbers_pb2.CountResponse, contract("Count", request), contract("Count", again)
    )
    assert [each.number for each in found] == [1, 2, 3, 1, 2]


async def test_client_stream_by_both_doors(
    client: NumbersClient, generic: compute_pb2_grpc.ComputeNodeServiceStub
) -> None:
    assert (await client.total(numbers(1, 2, 3))).sum == 6
    assert (await client.total([])).sum == 0
    contracts = [contract("Total", each) for each in numbers(1, 2, 3)]
    assert [t.sum for t in await stream(generic, numbers_pb2.TotalResponse, *contracts)] == [6]
    # Its one request is a stream of one.
    output = await generic.ExecuteCompute(contracts[1])
    assert unpack_as(output.processed_data, numbers_pb2.TotalResponse).sum == 2


async def test_bidi_by_both_doors(
    client: NumbersClient, generic: compute_pb2_grpc.ComputeNodeServiceStub
) -> None:
    answered = asyncio.Event()

    async def requests() -> AsyncGenerator[numbers_pb2.RunningRequest, None]:
        yield numbers_pb2.RunningRequest(number=1)
        # Only an answer to the first lets the second come.
        await answered.wait()
        yield numbers_pb2.RunningRequest(number=5)

    found = []
    async for each in client.running(requests()):
        found.append(each.sum)
        answered.set()
    assert found == [1, 6]
    contracts = [contract("Running", numbers_pb2.RunningRequest(number=n)) for n in (1, 5)]
    sums = await stream(generic, numbers_pb2.RunningResponse, *contracts)
    assert [each.sum for each in sums] == [1, 6]


async def test_a_unary_rpc_through_the_streaming_door_answers_each(
    generic: compute_pb2_grpc.ComputeNodeServiceStub,
) -> None:
    contracts = [contract("Add", numbers_pb2.AddRequest(left=n)) for n in (1, 2)]
    sums = await stream(generic, numbers_pb2.AddResponse, *contracts)
    assert [each.sum for each in sums] == [1, 2]


async def test_built_in_algorithms_through_the_streaming_door(
    generic: compute_pb2_grpc.ComputeNodeServiceStub,
) -> None:
    made = compute_pb2.ModelContractCompute(input_data=pack([1, 2]))
    made.algorithm_config.algorithm_type = "sum"
    outputs = [each async for each in generic.ExecuteComputeStream(iter([made, made]))]
    assert [each.processed_data.value.number_value for each in outputs] == [3, 3]


async def test_what_the_streaming_door_refuses(
    generic: compute_pb2_grpc.ComputeNodeServiceStub,
) -> None:
    total = contract("Total", numbers_pb2.TotalRequest())
    other = contract("Add", numbers_pb2.AddRequest())
    with pytest.raises(ContractValidationError, match="all requests of a stream name one"):
        await stream(generic, numbers_pb2.TotalResponse, total, other)
    with pytest.raises(ContractValidationError, match="no request came"):
        await stream(generic, numbers_pb2.TotalResponse)
    with pytest.raises(AlgorithmNotFoundError, match=r"lab\.v1\.NumbersService/Add"):
        await stream(generic, numbers_pb2.TotalResponse, contract("Subtract", total))
    wrong = contract("Total", numbers_pb2.AddRequest())
    with pytest.raises(ContractValidationError, match=r"a message of type lab\.v1\.TotalRequest"):
        await stream(generic, numbers_pb2.TotalResponse, wrong)
    with pytest.raises(ContractValidationError, match="call ExecuteComputeStream"):
        await generic.ExecuteCompute(contract("Count", numbers_pb2.CountRequest()))


async def test_errors_are_the_same_by_both_doors(
    client: NumbersClient, generic: compute_pb2_grpc.ComputeNodeServiceStub
) -> None:
    refused = numbers_pb2.AddRequest(left=-1)
    broken = numbers_pb2.AddRequest(right=-1)
    with pytest.raises(ContractValidationError, match="is negative") as typed:
        await client.add(refused)
    with pytest.raises(ContractValidationError, match="is negative") as plain:
        await generic.ExecuteCompute(contract("Add", refused))
    assert typed.value.violations == plain.value.violations
    assert typed.value.node == "compute/numbers"
    for call in (client.add(broken), generic.ExecuteCompute(contract("Add", broken))):
        with pytest.raises(OnexError, match="internal error") as untold:
            await call
        assert "fault of the user" not in str(untold.value)


async def test_a_stream_fails_after_what_it_gave(client: NumbersClient) -> None:
    found: list[numbers_pb2.CountResponse] = []
    with pytest.raises(ContractValidationError, match="is reached"):
        await gather(client.count(numbers_pb2.CountRequest(upto=9, fail_at=3)), found)
    assert [each.number for each in found] == [1, 2]


async def test_an_answer_of_another_type_is_named(client: NumbersClient) -> None:
    wanted = "returned a lab.v1.AddResponse as the response; give a lab.v1.WrongResponse"
    with pytest.raises(OnexError, match=wanted):
        await client.wrong(numbers_pb2.WrongRequest())


async def test_long_calculations_run_beside_the_others(client: NumbersClient) -> None:
    slow = asyncio.create_task(client.grind(numbers_pb2.GrindRequest(takes=Duration(nanos=10**8))))
    began = time.monotonic()
    await client.add(numbers_pb2.AddRequest())
    assert time.monotonic() - began < 0.1
    assert "asyncio" in (await slow).thread


async def test_the_time_of_the_contract_ends_what_can_be_ended(
    client: NumbersClient, generic: compute_pb2_grpc.ComputeNodeServiceStub
) -> None:
    takes = numbers_pb2.GrindRequest(takes=Duration(nanos=600_000_000))
    with pytest.raises(DeadlineExceededError, match=r"within 0.3 s, the timeout of its contract"):
        await generic.ExecuteCompute(contract("Grind", takes))

    async def never() -> AsyncGenerator[numbers_pb2.TotalRequest, None]:
        yield numbers_pb2.TotalRequest()
        await asyncio.Event().wait()

    with pytest.raises(DeadlineExceededError, match="within 1 s, the timeout of its contract"):
        await client.total(never(), timeout=20)


async def test_the_client_has_the_time_of_the_contract() -> None:
    left: list[float] = []

    async def grind(request: Message, context: grpc.aio.ServicerContext[M, M]) -> Message:
        left.append(context.time_remaining())
        return numbers_pb2.GrindResponse()

    handler = grpc.unary_unary_rpc_method_handler(
        grind, numbers_pb2.GrindRequest.FromString, numbers_pb2.GrindResponse.SerializeToString
    )
    server = grpc.aio.server()
    methods = grpc.method_handlers_generic_handler(SERVICE, {"Grind": handler})
    server.add_generic_rpc_handlers((methods,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    mesh = Mesh({"compute": f"127.0.0.1:{port}"})
    client = NumbersClient(mesh, "compute")
    await client.grind(numbers_pb2.GrindRequest())
    await client.grind(numbers_pb2.GrindRequest(), timeout=5)
    await mesh.close()
    await server.stop(None)
    # gRPC rounds deadlines up.
    assert left == pytest.approx([0.3, 5], abs=0.1)


async def test_cacheable_answers_come_from_memory(
    served: Served[Numbers],
    client: NumbersClient,
    generic: compute_pb2_grpc.ComputeNodeServiceStub,
) -> None:
    dice = numbers_pb2.RollRequest(sides={"a": 1, "b": 2})
    same = numbers_pb2.RollRequest(sides={"b": 2, "a": 1})
    assert (await client.roll(dice)).run == (await client.roll(same)).run == 1
    output = await generic.ExecuteCompute(contract("Roll", same))
    assert unpack_as(output.processed_data, numbers_pb2.RollResponse).run == 1
    assert (await client.roll(numbers_pb2.RollRequest())).run == 2
    for side in range(1100):
        await client.roll(numbers_pb2.RollRequest(sides={"c": side}))
    assert (await client.roll(dice)).run == served.node.rolls == 1103


async def test_leaving_a_stream_ends_it_at_the_node(
    served: Served[Numbers], client: NumbersClient
) -> None:
    async with aclosing(client.count(numbers_pb2.CountRequest(upto=10**9))) as counting:
        async for _ in counting:
            break
    async with asyncio.timeout(5):
        await served.node.released.wait()


async def test_leaving_a_stream_both_ways_ends_it_at_the_node(
    served: Served[Numbers], client: NumbersClient
) -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[numbers_pb2.RunningRequest, None]:
        try:
            while True:
                yield numbers_pb2.RunningRequest(number=1)
                await asyncio.sleep(0)
        finally:
            closed.set()

    async with aclosing(client.running(endless())) as running:
        assert (await anext(running)).sum == 1
    async with asyncio.timeout(5):
        await served.node.released.wait()
        await closed.wait()


async def test_a_fault_of_the_source_of_requests_is_raised_again(client: NumbersClient) -> None:
    class SourceError(Exception):
        pass

    async def broken() -> AsyncGenerator[numbers_pb2.RunningRequest, None]:
        yield numbers_pb2.RunningRequest(number=1)
        raise SourceError

    def broken_list() -> Iterator[numbers_pb2.TotalRequest]:
        yield numbers_pb2.TotalRequest(number=1)
        raise SourceError

    with pytest.raises(SourceError):
        [each async for each in client.running(broken())]

    with pytest.raises(SourceError):
        await client.total(broken_list())


async def test_a_source_of_requests_that_is_cancelled_ends_the_call(client: NumbersClient) -> None:
    async def cancelled() -> AsyncGenerator[numbers_pb2.RunningRequest, None]:
        yield numbers_pb2.RunningRequest(number=1)
        raise asyncio.CancelledError

    async def read() -> None:
        await gather(client.running(cancelled()), [])

    reading = asyncio.create_task(read())
    await asyncio.wait((reading,), timeout=5)
    assert reading.cancelled()


async def test_requests_of_another_type_are_refused_before_they_are_sent(
    client: NumbersClient,
) -> None:
    wrong = numbers_pb2.CountRequest(upto=1)
    with pytest.raises(TypeError, match="Add takes a AddRequest, not a CountRequest"):
        await client.add(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Count takes a CountRequest, not a AddRequest"):
        await anext(client.count(numbers_pb2.AddRequest()))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Total takes a TotalRequest, not a CountRequest"):
        await client.total([wrong])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="Running takes a RunningRequest, not a CountRequest"):
        await anext(client.running([wrong]))  # type: ignore[list-item]


async def test_ids_pass_and_messages_of_users_keep_theirs(served: Served[Numbers]) -> None:
    correlation = str(uuid.uuid4())
    enter_call(CallContext(correlation))
    mesh = served.caller("orchestrator/trips")
    request = numbers_pb2.AddRequest(correlation_id=7)
    try:
        answer = await NumbersClient(mesh).add(request)
    finally:
        await mesh.close()
    assert answer.context == f"{correlation} orchestrator/trips None 7"


async def test_data_flows_one_way_through_the_typed_door(served: Served[Numbers]) -> None:
    mesh = served.caller("effect/post")
    try:
        with pytest.raises(FlowViolationError, match="effect/post may not call lab"):
            await NumbersClient(mesh).add(numbers_pb2.AddRequest())
    finally:
        await mesh.close()


def test_operations_name_the_rpcs(served: Served[Numbers]) -> None:
    assert f"{SERVICE}/Running" in served.node.operations()
    assert "sum" in served.node.operations()
