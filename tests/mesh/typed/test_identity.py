"""The same content through every public door, each time in other bytes, is recognised as the same;
another content is not.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from typing import TYPE_CHECKING, TypeVar, cast

import pytest
import pytest_asyncio
from depot.v1 import depot_pb2
from depot.v1.depot_onex import AccountReducer, CourierClient, ScaleClient
from google.protobuf.message import Message

from onex.v1 import (
    action_pb2,
    common_pb2,
    compute_pb2,
    compute_pb2_grpc,
    effect_pb2,
    event_pb2,
    intent_pb2,
    lease_pb2,
    lease_pb2_grpc,
    orchestrator_pb2,
    reducer_pb2,
)
from onex_grpc.context import CallContext, enter_call
from onex_grpc.contract.canonical import same_content
from onex_grpc.contract.data import pack, unpack_as
from onex_grpc.errors import AlreadyExistsError
from onex_grpc.rpc.client import Mesh
from onex_grpc.testing.pure import bare_reducer, check_pure
from tests.identity.errands import KINDS, graph_contract
from tests.identity.house import House
from tests.identity.labels import label_of
from tests.identity.nodes import (
    LEDGER,
    NEWS,
    Account,
    Scale,
    book_request,
    deliver_request,
    event,
    ship_request,
    shipment,
    weigh_request,
)
from tests.identity.scattered import any_of
from tests.mesh.typed.lab_serving import serving
from tests.store.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.identity.errands import Errand

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]
M = TypeVar("M", bound=Message)
CHANCE = random.Random(7)  # noqa: S311 - a test that fails is to fail again


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["sqlite", "postgresql"])
async def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    """Four processes over one kind of store."""
    server = PostgresServer() if request.param == "postgresql" else None
    folder = tmp_path_factory.mktemp("house")
    house = House(folder, server.address if server else "", CHANCE)
    try:
        await house.start()
        yield house
    finally:
        await house.close()
        if server:
            server.stop()


def data(message: Message) -> common_pb2.Data:
    return common_pb2.Data(message=any_of(message, CHANCE))


def otherwise(request: M) -> M:
    """A request that says something else in its label."""
    cast("depot_pb2.ShipRequest", request).label.inner.notes.append(any_of(request, CHANCE))
    return request


def name() -> str:
    return f"p-{uuid.uuid4()}"


async def shipped(house: House, parcel: str, count: int) -> Counter[str]:
    """The legs of a parcel, as soon as there are so many."""
    async with asyncio.timeout(30):
        while True:
            legs = Counter(leg for each, leg, _ in house.shipments() if each == parcel)
            if legs.total() >= count:
                return legs
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_door_knows_it_again(
    house: House, kind: Callable[[House, str, str], Errand]
) -> None:
    parcel = name()
    errand = kind(house, f"of-{parcel}", parcel)
    answers = [
        await asyncio.create_task(_asked(errand, number % len(errand.ways)))
        for number in range(2 * len(errand.ways))
    ]
    assert all(map(same_content, answers[0], each) for each in answers)
    assert await shipped(house, parcel, len(errand.legs)) == Counter(errand.legs)
    assert (await house.account(f"of-{parcel}")).bookings == errand.bookings


async def _asked(errand: Errand, way: int) -> list[Message]:
    return list(await errand.ways[way]())


async def test_another_request_of_a_workflow_is_refused(house: House) -> None:
    parcel = name()
    await house.deliveries.deliver(deliver_request("a", parcel), timeout=30)
    other = otherwise(deliver_request("a", parcel))
    with pytest.raises(AlreadyExistsError):
        await house.deliveries.deliver(other, timeout=30)
    contract = orchestrator_pb2.ModelContractOrchestrator(
        workflow_id=parcel, initial_state=data(other)
    )
    with pytest.raises(AlreadyExistsError):
        await house.orchestrator.ExecuteOrchestration(contract)


@pytest.mark.parametrize("place", ["input", "compute", "custom", "event"])
async def test_another_graph_is_refused(house: House, place: str) -> None:
    parcel = name()
    await house.orchestrator.ExecuteOrchestration(graph_contract("a", parcel), timeout=30)
    contract = graph_contract("a", parcel)
    weigh, _, _, news, sent = contract.workflow_config.steps
    if place == "input":
        contract.initial_state.CopyFrom(data(otherwise(book_request("a", parcel))))
    elif place == "compute":
        weigh.compute.input_data.CopyFrom(data(otherwise(weigh_request(parcel))))
    elif place == "custom":
        custom = sent.effect.io_operation_config.operation.custom
        custom.CopyFrom(any_of(otherwise(ship_request(parcel, "sent")), CHANCE))
    else:
        message = news.effect.io_operation_config.operation.message
        message.data.CopyFrom(pack(label_of("another")))
    with pytest.raises(AlreadyExistsError):
        await house.orchestrator.ExecuteOrchestration(contract)


async def test_another_action_of_a_reducer_is_refused(house: House) -> None:
    action_id, account = str(uuid.uuid4()), name()

    async def book(request: depot_pb2.BookRequest) -> None:
        enter_call(CallContext(str(uuid.uuid4()), action_id=action_id))
        await house.accounts.book(request, timeout=30)

    async def reduce(request: depot_pb2.BookRequest) -> None:
        contract = reducer_pb2.ModelContractReducer(action_id=action_id)
        contract.reduction_config.state_key = account
        contract.input_data.action = "Book"
        contract.input_data.payload.CopyFrom(data(request))
        await house.reducer.ExecuteReduction(contract)

    for way in (book, reduce, book):
        await asyncio.create_task(way(book_request(account, account)))
    for way in (book, reduce):
        with pytest.raises(AlreadyExistsError):
            await asyncio.create_task(way(otherwise(book_request(account, account))))
    assert (await house.account(account)).bookings == 1


async def test_another_effect_under_a_key_is_refused(house: House) -> None:
    parcel = name()

    def custom(request: depot_pb2.ShipRequest) -> effect_pb2.ModelContractEffect:
        contract = effect_pb2.ModelContractEffect()
        contract.io_operation_config.operation.custom.CopyFrom(any_of(request, CHANCE))
        contract.io_operation_config.idempotency_key = f"custom-{parcel}"
        return contract

    def publish(of: str) -> effect_pb2.ModelContractEffect:
        contract = effect_pb2.ModelContractEffect()
        contract.external_service_config.service_name = NEWS
        contract.io_operation_config.operation.CopyFrom(event(of))
        contract.io_operation_config.idempotency_key = f"event-{parcel}"
        return contract

    def insert(leg: str) -> effect_pb2.ModelContractEffect:
        contract = effect_pb2.ModelContractEffect()
        contract.external_service_config.service_name = LEDGER
        contract.io_operation_config.operation.CopyFrom(shipment(parcel, leg, 1))
        contract.io_operation_config.idempotency_key = f"row-{parcel}"
        return contract

    for _ in range(2):
        await house.effect.ExecuteEffect(custom(ship_request(parcel, "one")))
        await house.effect.ExecuteEffect(publish(parcel))
        await house.effect.ExecuteEffect(insert("two"))
    assert await shipped(house, parcel, 2) == Counter(("one", "two"))
    another = custom(otherwise(ship_request(parcel, "one")))
    for other in (another, publish("another"), insert("three")):
        with pytest.raises(AlreadyExistsError):
            await house.effect.ExecuteEffect(other)


async def test_a_node_repeats_one_call_of_several_for_an_action(house: House) -> None:
    """What tells the calls that a node makes for one action apart is their content."""
    parcel, action_id = name(), str(uuid.uuid4())
    caller = Mesh({"effect": house.addresses["effect"]}, caller="compute/scale")

    async def ship(leg: str) -> None:
        enter_call(CallContext(str(uuid.uuid4()), action_id=action_id))
        await CourierClient(caller).ship(ship_request(parcel, leg), timeout=30)

    for leg in ("one", "two", "one", "two"):
        await asyncio.create_task(ship(leg))
    assert await shipped(house, parcel, 2) == Counter(("one", "two"))
    await caller.close()


async def test_an_intent_that_comes_again(house: House) -> None:
    parcel, intent_id = name(), str(uuid.uuid4())

    async def execute(request: depot_pb2.ShipRequest) -> intent_pb2.IntentExecutionResult:
        intent = intent_pb2.ModelIntent(
            intent_id=intent_id, correlation_id=str(uuid.uuid4()), idempotency_key=intent_id
        )
        intent.payload.custom.CopyFrom(any_of(request, CHANCE))
        results = house.effect.ExecuteIntents(effect_pb2.ExecuteIntentsRequest(intents=[intent]))
        (result,) = [each async for each in results]
        return result

    first, again = [await execute(ship_request(parcel, "one")) for _ in range(2)]
    assert same_content(first.result, again.result)
    assert await shipped(house, parcel, 1) == Counter(("one",))
    other = await execute(otherwise(ship_request(parcel, "one")))
    assert other.error.reason == "ALREADY_EXISTS"


async def test_an_event_that_comes_again(house: House) -> None:
    event_id = str(uuid.uuid4())

    async def publish(label: depot_pb2.Label) -> int:
        made = event_pb2.Event(event_id=event_id, topic="news", event_type="T", data=data(label))
        return (await house.bus.Publish(event_pb2.PublishRequest(event=made))).sequence

    assert await publish(label_of("x")) == await publish(label_of("x"))
    with pytest.raises(AlreadyExistsError):
        await publish(label_of("y"))


async def test_an_action_that_comes_again(house: House) -> None:
    workflow, parcel = name(), name()
    leases = house.mesh.stub(lease_pb2_grpc.LeaseServiceStub, "orchestrator")
    asked = lease_pb2.AcquireLeaseRequest(
        workflow_id=workflow, holder="tests", request_id=str(uuid.uuid4())
    )
    lease = (await leases.AcquireLease(asked)).lease
    correlation_id = str(uuid.uuid4())

    async def act(
        action_id: str, target: str, payload: action_pb2.ActionPayload
    ) -> orchestrator_pb2.ExecuteActionResponse:
        request = orchestrator_pb2.ExecuteActionRequest(
            workflow_id=workflow, fence=lease.fence, lease_token=lease.token
        )
        action = request.action
        action.action_id, action.lease_id = action_id, lease.lease_id
        action.correlation_id, action.target_node = correlation_id, target
        action.action_type = action_pb2.ACTION_TYPE_DELEGATE_TASK
        if payload.HasField("state"):
            action.action_type = action_pb2.ACTION_TYPE_START_WORKFLOW
            action.epoch = 0
        action.issued_at.GetCurrentTime()
        action.command_payload.CopyFrom(payload)
        return await house.orchestrator.ExecuteAction(request, timeout=30)

    def state(label: depot_pb2.Label) -> action_pb2.ActionPayload:
        return action_pb2.ActionPayload(state=data(label))

    def reducer(request: depot_pb2.BookRequest) -> action_pb2.ActionPayload:
        payload = action_pb2.ActionPayload()
        payload.reducer.reduction_config.state_key = parcel
        payload.reducer.input_data.action = "Book"
        payload.reducer.input_data.payload.CopyFrom(data(request))
        return payload

    def effect(request: depot_pb2.ShipRequest) -> action_pb2.ActionPayload:
        payload = action_pb2.ActionPayload()
        operation = payload.effect.io_operation_config.operation
        operation.custom.CopyFrom(any_of(request, CHANCE))
        return payload

    def compute(request: depot_pb2.WeighRequest) -> action_pb2.ActionPayload:
        payload = action_pb2.ActionPayload()
        payload.compute.algorithm_config.algorithm_type = "depot.v1.ScaleService/Weigh"
        payload.compute.input_data.CopyFrom(data(request))
        return payload

    ways: list[tuple[str, Callable[[], action_pb2.ActionPayload], action_pb2.ActionPayload]] = [
        ("orchestrator", lambda: state(label_of("x")), state(label_of("y"))),
        (
            "reducer",
            lambda: reducer(book_request(parcel, parcel)),
            reducer(otherwise(book_request(parcel, parcel))),
        ),
        (
            "effect",
            lambda: effect(ship_request(parcel, "one")),
            effect(otherwise(ship_request(parcel, "one"))),
        ),
        (
            "compute",
            lambda: compute(weigh_request(parcel)),
            compute(otherwise(weigh_request(parcel))),
        ),
    ]
    for target, same, other in ways:
        action_id = str(uuid.uuid4())
        first = await act(action_id, target, same())
        assert await act(action_id, target, same()) == first
        with pytest.raises(AlreadyExistsError):
            await act(action_id, target, other)
    assert await shipped(house, parcel, 2) == Counter(("one", "notice"))
    assert (await house.account(parcel)).bookings == 1


async def test_an_answer_from_memory(tmp_path: Path) -> None:
    async with serving(Scale, tmp_path) as served:
        stub = served.mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute")
        first = await ScaleClient(served.mesh).weigh(weigh_request("a"))
        contract = compute_pb2.ModelContractCompute(input_data=data(weigh_request("a")))
        contract.algorithm_config.algorithm_type = "depot.v1.ScaleService/Weigh"
        output = await stub.ExecuteCompute(contract)
        assert unpack_as(output.processed_data, depot_pb2.WeighResponse) == first
        assert served.node.weighed == ["a"]
        await ScaleClient(served.mesh).weigh(otherwise(weigh_request("a")))
        assert served.node.weighed == ["a", "a"]


async def test_a_method_that_packs_anew_is_pure() -> None:
    reducer: AccountReducer = bare_reducer(Account)
    check_pure(reducer.book, depot_pb2.Account(), book_request("a", "p"))
