"""What is asked of a mesh, through every door: each time in other bytes."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING, Final, TypeAlias

from depot.v1 import depot_pb2
from google.protobuf.message import Message

from onex.v1 import common_pb2, effect_pb2, orchestrator_pb2, reducer_pb2
from onex_grpc.context import CallContext, enter_call
from onex_grpc.contract.data import unpack_as
from tests.identity.labels import label_of
from tests.identity.nodes import (
    CENTS,
    LEDGER,
    NEWS,
    book_request,
    deliver_request,
    event,
    ship_request,
    shipment,
    weigh_request,
)
from tests.identity.scattered import any_of

if TYPE_CHECKING:
    from tests.identity.house import House

Way: TypeAlias = Callable[[], Awaitable[Sequence[Message]]]
"""Asks through one door."""
TIMEOUT: Final = 20.0
_LEGS: Final = ("north", "south", "home")
_CHANCE: Final = SystemRandom()


@dataclass(frozen=True, slots=True)
class Errand:
    """One thing that is asked for.

    Attributes:
        parcel: names it.
        ways: the doors that lead to it; all give one answer.
        legs: the shipments that it comes to.
        bookings: the bookings that it comes to.
    """

    parcel: str
    ways: Sequence[Way]
    legs: Sequence[str]
    bookings: int = 0


def delivery(house: House, account: str, parcel: str) -> Errand:
    """A workflow that is code, through both doors."""

    async def typed() -> Sequence[Message]:
        request = deliver_request(account, parcel)
        return [await house.deliveries.deliver(request, timeout=TIMEOUT)]

    async def generic() -> Sequence[Message]:
        request = deliver_request(account, parcel)
        contract = orchestrator_pb2.ModelContractOrchestrator(
            workflow_id=parcel, initial_state=_data(request)
        )
        output = await house.orchestrator.ExecuteOrchestration(contract, timeout=TIMEOUT)
        responses = output.orchestration_result.responses
        return [unpack_as(each, depot_pb2.DeliverResponse) for each in responses]

    return Errand(parcel, (typed, generic), ("out", "home", "notice"), bookings=1)


def tracking(house: House, account: str, parcel: str) -> Errand:
    """A workflow with a stream of responses."""

    async def typed() -> Sequence[Message]:
        request = depot_pb2.TrackRequest(parcel_id=parcel, legs=_LEGS, label=label_of(parcel))
        return [each async for each in house.deliveries.track(request, timeout=TIMEOUT)]

    return Errand(parcel, (typed,), _LEGS)


def graph(house: House, account: str, parcel: str) -> Errand:
    """A workflow that is a graph, with steps of each kind."""

    async def generic() -> Sequence[Message]:
        contract = graph_contract(account, parcel)
        output = await house.orchestrator.ExecuteOrchestration(contract, timeout=TIMEOUT)
        return [output.orchestration_result]

    return Errand(parcel, (generic,), ("direct", "sent", "notice"), bookings=1)


def booking(house: House, account: str, parcel: str) -> Errand:
    """An action of the reducer, through both doors."""
    action_id = str(uuid.uuid4())

    async def typed() -> Sequence[Message]:
        _act(action_id)
        return [await house.accounts.book(book_request(account, parcel), timeout=TIMEOUT)]

    async def generic() -> Sequence[Message]:
        contract = reducer_pb2.ModelContractReducer(
            action_id=action_id,
            reduction_config=reducer_pb2.ReductionConfig(state_key=account),
            input_data=reducer_pb2.ReducerInput(
                action="Book", payload=_data(book_request(account, parcel))
            ),
        )
        output = await house.reducer.ExecuteReduction(contract, timeout=TIMEOUT)
        return [unpack_as(output.responses[0], depot_pb2.BookResponse)]

    return Errand(parcel, (typed, generic), ("notice",), bookings=1)


def shipping(house: House, account: str, parcel: str) -> Errand:
    """An effect of the node's own, through both doors."""
    action_id = str(uuid.uuid4())

    async def typed() -> Sequence[Message]:
        _act(action_id)
        return [await house.couriers.ship(ship_request(parcel, "alone"), timeout=TIMEOUT)]

    async def generic() -> Sequence[Message]:
        contract = effect_pb2.ModelContractEffect()
        config = contract.io_operation_config
        config.idempotency_key = action_id
        config.operation.custom.CopyFrom(any_of(ship_request(parcel, "alone"), _CHANCE))
        output = await house.effect.ExecuteEffect(contract, timeout=TIMEOUT)
        return [unpack_as(output.operation_result, depot_pb2.ShipResponse)]

    return Errand(parcel, (typed, generic), ("alone",))


KINDS: Final = (delivery, tracking, graph, booking, shipping)
"""All kinds of errand."""


def graph_contract(account: str, parcel: str) -> orchestrator_pb2.ModelContractOrchestrator:
    """A graph whose steps' parameters, and the input of one, hold Anys."""
    contract = orchestrator_pb2.ModelContractOrchestrator(
        workflow_id=parcel,
        initial_state=_data(book_request(account, parcel)),
        conflict_resolution=orchestrator_pb2.ConflictResolution(
            retry_enabled=True,
            retry_conditions=["UNAVAILABLE"],
            retry_config=common_pb2.RetryPolicy(max_retries=50),
        ),
    )
    contract.conflict_resolution.retry_config.max_backoff.FromMilliseconds(200)
    config = contract.workflow_config
    config.coordination_type = orchestrator_pb2.WORKFLOW_COORDINATION_PARALLEL
    weigh = config.steps.add(step_id="weigh", target_node="compute")
    weigh.compute.algorithm_config.algorithm_type = "depot.v1.ScaleService/Weigh"
    weigh.compute.input_data.CopyFrom(_data(weigh_request(parcel)))
    book = config.steps.add(step_id="book", target_node="reducer")
    book.reducer.reduction_config.state_key = account
    book.reducer.input_data.action = "Book"
    book.bindings.add(field="input_data.payload", expression="input")
    direct = config.steps.add(step_id="direct", target_node="effect")
    direct.effect.external_service_config.service_name = LEDGER
    direct.effect.io_operation_config.operation.CopyFrom(shipment(parcel, "direct", CENTS))
    news = config.steps.add(step_id="news", target_node="effect")
    news.effect.external_service_config.service_name = NEWS
    news.effect.io_operation_config.operation.CopyFrom(event(parcel))
    sent = config.steps.add(step_id="sent", target_node="effect", depends_on=["weigh", "book"])
    operation = sent.effect.io_operation_config.operation
    operation.custom.CopyFrom(any_of(ship_request(parcel, "sent"), _CHANCE))
    return contract


def _data(message: Message) -> common_pb2.Data:
    return common_pb2.Data(message=any_of(message, _CHANCE))


def _act(action_id: str) -> None:
    enter_call(CallContext(str(uuid.uuid4()), action_id=action_id))
