"""Every kind of node with an rpc of every form, in processes of their own: called by the generated
clients, through the generic services, and by Node.js.
"""

from __future__ import annotations

import json
import os
import uuid
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import pytest
import pytest_asyncio
from forms.v1 import forms_pb2 as forms
from forms.v1.forms_onex import BookingClient, CounterClient, MathClient, NotebookClient

from onex.v1 import (
    compute_pb2,
    compute_pb2_grpc,
    effect_pb2,
    effect_pb2_grpc,
    operation_pb2,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
    reducer_pb2,
    reducer_pb2_grpc,
)
from onex_grpc.contract import data
from onex_grpc.rpc import Mesh
from onex_grpc.testing.process import NodeProcess
from servers.supervisor import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence

    from google.protobuf.message import Message

    from onex.v1 import common_pb2
    from tests.clients.conftest import Call

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
TYPED = ROOT / "tests" / "mesh" / "typed"
KINDS = {"reducer": "Counters", "compute": "Math", "effect": "Notebook", "orchestrator": "Bookings"}
NUMBERS = [1, 2, 3]
TOTALS = [1, 3, 6]


class Running(NamedTuple):
    """The mesh: how Python calls it, and where Node.js finds each kind."""

    mesh: Mesh
    addresses: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    folder = tmp_path_factory.mktemp("forms")
    ports = dict(zip(KINDS, free_ports(len(KINDS)), strict=True))
    addresses = {kind: f"127.0.0.1:{port}" for kind, port in ports.items()}
    lines = [f'"{kind}" = "{address}"' for kind, address in addresses.items()]
    (folder / "onex.toml").write_text(
        "\n".join([f'state = "{folder}/state"', 'queues = ["reducer"]', "[addresses]", *lines])
    )
    path = (ROOT, ROOT / "generated", TYPED / "generated")
    environment = {"PYTHONPATH": os.pathsep.join(map(str, path))}
    async with AsyncExitStack() as stack:
        for kind, name in KINDS.items():
            node = NodeProcess(
                f"tests.mesh.typed.forms_nodes:{name}",
                folder=folder,
                environment=environment,
                port=ports[kind],
            )
            await stack.enter_async_context(node)
        mesh = Mesh(addresses)
        stack.push_async_callback(mesh.close)
        yield Running(mesh, addresses)


def values(responses: Iterable[forms.Number]) -> list[int]:
    return [response.value for response in responses]


async def collected(responses: AsyncIterable[forms.Number]) -> list[int]:
    return [response.value async for response in responses]


async def texts(responses: AsyncIterable[forms.Line]) -> list[str]:
    return [response.text async for response in responses]


async def test_generated_client_of_a_compute_node(running: Running) -> None:
    math = MathClient(running.mesh)
    assert (await math.double(forms.DoubleRequest(value=21))).value == 42
    assert await collected(math.count(forms.CountRequest(upto=3))) == NUMBERS
    assert (await math.sum([forms.SumRequest(value=n) for n in NUMBERS])).value == 6
    requests = [forms.RunningRequest(value=n) for n in NUMBERS]
    assert await collected(math.running(requests)) == TOTALS


async def test_generated_client_of_an_effect_node(running: Running) -> None:
    notebook = NotebookClient(running.mesh)
    before = await texts(notebook.read(forms.ReadRequest()))
    assert (await notebook.note(forms.NoteRequest(text="a"))).lines == len(before) + 1
    noted = await notebook.note_all([forms.NoteAllRequest(text=text) for text in "bc"])
    assert noted.lines == len(before) + 3
    echoed = notebook.echo([forms.EchoRequest(text=text) for text in "de"])
    assert await texts(echoed) == ["d", "e"]
    assert await texts(notebook.read(forms.ReadRequest())) == [*before, *"abcde"]


async def test_generated_client_of_a_reducer(running: Running) -> None:
    counter = CounterClient(running.mesh)
    assert (await counter.add(forms.AddRequest(tally="t", amount=1))).value == 1
    steps = await collected(counter.steps(forms.StepsRequest(tally="t", amount=2)))
    assert steps == [2, 3]
    amounts = [forms.AddAllRequest(tally="t", amount=n) for n in NUMBERS]
    assert (await counter.add_all(amounts)).value == 9
    follow = [forms.FollowRequest(tally="t", amount=n) for n in NUMBERS]
    assert await collected(counter.follow(follow)) == [10, 12, 15]


async def test_generated_client_of_an_orchestrator(running: Running) -> None:
    booking = BookingClient(running.mesh)
    assert (await booking.book(forms.BookRequest(booking="g1", amount=2))).value == 4
    # A repeat gets the recorded answer.
    assert (await booking.book(forms.BookRequest(booking="g1", amount=2))).value == 4
    steps = forms.BookStepsRequest(booking="g2", times=3)
    assert await collected(booking.book_steps(steps)) == [2, 4, 6]
    assert await collected(booking.book_steps(steps)) == [2, 4, 6]
    everything = [forms.BookAllRequest(booking=f"g3-{n}", amount=n) for n in NUMBERS]
    assert (await booking.book_all(everything)).value == 6
    each = [forms.BookEachRequest(booking=f"g4-{n}", amount=n) for n in NUMBERS]
    assert await collected(booking.book_each(each)) == [2, 4, 6]


def computation(rpc: str, request: Message) -> compute_pb2.ModelContractCompute:
    config = compute_pb2.AlgorithmConfig(algorithm_type=f"forms.v1.MathService/{rpc}")
    return compute_pb2.ModelContractCompute(algorithm_config=config, input_data=data.pack(request))


def number(found: common_pb2.Data) -> int:
    return data.unpack_as(found, forms.Number).value


async def test_generic_service_of_a_compute_node(running: Running) -> None:
    stub = running.mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute")
    single = await stub.ExecuteCompute(computation("Double", forms.DoubleRequest(value=21)))
    assert number(single.processed_data) == 42

    async def streamed(rpc: str, *requests: Message) -> list[int]:
        call = stub.ExecuteComputeStream(iter([computation(rpc, r) for r in requests]))
        return [number(output.processed_data) async for output in call]

    assert await streamed("Count", forms.CountRequest(upto=3)) == NUMBERS
    assert await streamed("Sum", *(forms.SumRequest(value=n) for n in NUMBERS)) == [6]
    assert await streamed("Running", *(forms.RunningRequest(value=n) for n in NUMBERS)) == TOTALS


def effect(request: Message) -> effect_pb2.ModelContractEffect:
    operation = operation_pb2.EffectOperation(custom=data.pack(request).message)
    return effect_pb2.ModelContractEffect(
        io_operation_config=effect_pb2.IoOperationConfig(operation=operation)
    )


async def test_generic_service_of_an_effect_node(running: Running) -> None:
    stub = running.mesh.stub(effect_pb2_grpc.EffectNodeServiceStub, "effect")

    async def streamed(*requests: Message) -> list[common_pb2.Data]:
        call = stub.ExecuteEffectStream(iter([effect(request) for request in requests]))
        return [output.operation_result async for output in call]

    before = len(await streamed(forms.ReadRequest()))
    single = await stub.ExecuteEffect(effect(forms.NoteRequest(text="a")))
    assert data.unpack_as(single.operation_result, forms.Noted).lines == before + 1
    [noted] = await streamed(*(forms.NoteAllRequest(text=text) for text in "bc"))
    assert data.unpack_as(noted, forms.Noted).lines == before + 3
    echoed = await streamed(*(forms.EchoRequest(text=text) for text in "de"))
    assert [data.unpack_as(line, forms.Line).text for line in echoed] == ["d", "e"]


def reduction(rpc: str, tally: str, request: Message) -> reducer_pb2.ModelContractReducer:
    return reducer_pb2.ModelContractReducer(
        reduction_config=reducer_pb2.ReductionConfig(state_key=tally),
        input_data=reducer_pb2.ReducerInput(action=rpc, payload=data.pack(request)),
    )


async def test_generic_service_of_a_reducer(running: Running) -> None:
    stub = running.mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")

    async def streamed(rpc: str, *requests: Message) -> list[list[int]]:
        call = stub.StreamReduction(iter([reduction(rpc, "x", request) for request in requests]))
        return [[number(response) for response in output.responses] async for output in call]

    added = reduction("Add", "x", forms.AddRequest(tally="x", amount=1))
    single = await stub.ExecuteReduction(added)
    assert [number(response) for response in single.responses] == [1]
    assert await streamed("Steps", forms.StepsRequest(tally="x", amount=2)) == [[2, 3]]
    amounts = [forms.AddAllRequest(tally="x", amount=n) for n in NUMBERS]
    assert await streamed("AddAll", *amounts) == [[4], [6], [9]]
    follow = [forms.FollowRequest(tally="x", amount=n) for n in NUMBERS]
    assert await streamed("Follow", *follow) == [[10], [12], [15]]


def workflow(booking: str, request: Message) -> orchestrator_pb2.ModelContractOrchestrator:
    return orchestrator_pb2.ModelContractOrchestrator(
        workflow_id=booking, initial_state=data.pack(request)
    )


async def test_generic_service_of_an_orchestrator(running: Running) -> None:
    stub = running.mesh.stub(orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator")

    async def streamed(*contracts: orchestrator_pb2.ModelContractOrchestrator) -> list[list[int]]:
        call = stub.StreamOrchestration(iter(contracts))
        return [
            [number(response) for response in output.orchestration_result.responses]
            async for output in call
        ]

    book = workflow("o1", forms.BookRequest(booking="o1", amount=2))
    single = await stub.ExecuteOrchestration(book)
    assert [number(response) for response in single.orchestration_result.responses] == [4]
    steps = workflow("o2", forms.BookStepsRequest(booking="o2", times=3))
    assert await streamed(steps) == [[2, 4, 6]]
    everything = [
        workflow(f"o3-{n}", forms.BookAllRequest(booking=f"o3-{n}", amount=n)) for n in NUMBERS
    ]
    assert await streamed(*everything) == [[2], [4], [6]]
    each = [
        workflow(f"o4-{n}", forms.BookEachRequest(booking=f"o4-{n}", amount=n)) for n in NUMBERS
    ]
    assert await streamed(*each) == [[2], [4], [6]]


def js(kind: str, rpc: str, requests: Sequence[object], answers: object) -> object:
    return pytest.param(kind, rpc, requests, answers, id=f"{kind}-{rpc}")


def _tallies(name: str) -> list[object]:
    return [{"tally": name, "amount": n} for n in NUMBERS]


def _bookings(name: str) -> list[object]:
    return [{"booking": f"{name}-{n}", "amount": n} for n in NUMBERS]


SERVICES = {
    "compute": "MathService",
    "effect": "NotebookService",
    "reducer": "CounterService",
    "orchestrator": "BookingService",
}
LETTERS = [{"text": text} for text in "ab"]


@pytest.mark.parametrize(
    ("kind", "rpc", "requests", "expected"),
    [
        js("compute", "Double", [{"value": 21}], [42]),
        js("compute", "Count", [{"upto": 3}], NUMBERS),
        js("compute", "Sum", [{"value": n} for n in NUMBERS], [6]),
        js("compute", "Running", [{"value": n} for n in NUMBERS], TOTALS),
        js("effect", "Note", LETTERS, ["lines"]),
        js("effect", "NoteAll", LETTERS, ["lines"]),
        js("effect", "Echo", LETTERS, ["a", "b"]),
        js("effect", "Read", [{}], None),
        js("reducer", "Add", [{"tally": "js1", "amount": 1}], [1]),
        js("reducer", "Steps", [{"tally": "js2", "amount": 3}], NUMBERS),
        js("reducer", "AddAll", _tallies("js3"), [6]),
        js("reducer", "Follow", _tallies("js4"), TOTALS),
        js("orchestrator", "Book", [{"booking": "js5", "amount": 2}], [4]),
        js("orchestrator", "BookSteps", [{"booking": "js6", "times": 3}], [2, 4, 6]),
        js("orchestrator", "BookAll", _bookings("js7"), [6]),
        js("orchestrator", "BookEach", _bookings("js8"), [2, 4, 6]),
    ],
)
async def test_node_js_calls_every_form(
    running: Running,
    node_rpc: Call,
    kind: str,
    rpc: str,
    requests: Sequence[object],
    expected: list[object] | None,
) -> None:
    service = f"forms.v1.{SERVICES[kind]}"
    answer = node_rpc(
        running.addresses[kind], "forms/v1/forms.proto", service, rpc, json.dumps(requests)
    )
    assert answer["code"] == "OK", answer
    responses = cast("list[dict[str, object]]", answer["responses"])
    if expected is None:
        assert {"text"} == {name for response in responses for name in response}
    elif expected == ["lines"]:
        assert [list(response) for response in responses] == [expected]
    else:
        assert [next(iter(response.values())) for response in responses] == expected


async def test_node_js_gets_what_came_before_a_refusal(running: Running, node_rpc: Call) -> None:
    requests = [{"tally": "js9", "amount": amount} for amount in (1, -1, 1)]
    answer = node_rpc(
        running.addresses["reducer"],
        "forms/v1/forms.proto",
        "forms.v1.CounterService",
        "Follow",
        json.dumps(requests),
    )
    assert (answer["code"], answer["responses"]) == ("FAILED_PRECONDITION", [{"value": 1}])


async def test_intents_of_the_reducer_are_carried_out_by_the_effect_node(running: Running) -> None:
    name = f"t-{uuid.uuid4()}"
    await CounterClient(running.mesh).add(forms.AddRequest(tally=name, amount=5))
    notebook = NotebookClient(running.mesh)
    while f"{name}=5" not in await texts(notebook.read(forms.ReadRequest())):
        # Each look is a call of its own; the test's timeout ends a wait in vain.
        continue
