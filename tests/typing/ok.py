"""Code of a user's that type checkers have nothing to say about; never run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.typed import Reduction
from orders.v1.desk_onex import DeskEffect, DeskIntents
from orders.v1.desk_pb2 import (
    AnnounceOrderRequest,
    AnnounceOrderResponse,
    ConfirmOrderRequest,
    ConfirmOrderResponse,
    ReadLineRequest,
    ReadLineResponse,
    RecordOrderRequest,
    RecordOrderResponse,
)
from orders.v1.fulfilment_onex import FulfilmentMesh, FulfilmentOrchestrator
from orders.v1.fulfilment_pb2 import FulfilOrderRequest, FulfilOrderResponse
from orders.v1.order_service_onex import OrderClient, OrderIntent, OrderReducer
from orders.v1.order_service_pb2 import (
    ConfirmPaymentRequest,
    ConfirmPaymentResponse,
    PlaceOrderRequest,
    PlaceOrderResponse,
    ShipOrderRequest,
    ShipOrderResponse,
)
from orders.v1.orders_pb2 import Order, PricedOrder
from orders.v1.pricing_onex import PricingCompute
from orders.v1.pricing_pb2 import (
    ParseLineRequest,
    ParseLineResponse,
    PriceOrderRequest,
    PriceOrderResponse,
)

if TYPE_CHECKING:
    from onex_grpc import ModelONEXContainer
    from onex_grpc.typed import Action, EffectCall, WorkflowCall


class Prices(PricingCompute):
    """A compute node."""

    def parse_line(self, request: ParseLineRequest) -> ParseLineResponse:
        return ParseLineResponse()

    def price_order(self, request: PriceOrderRequest) -> PriceOrderResponse:
        return PriceOrderResponse(order=PricedOrder(line=request.line))


class Desk(DeskEffect):
    """An effect node."""

    async def read_line(self, request: ReadLineRequest, call: EffectCall) -> ReadLineResponse:
        return ReadLineResponse(text=f"{request.file}:{request.line}")

    async def record_order(
        self, request: RecordOrderRequest, call: EffectCall
    ) -> RecordOrderResponse:
        return RecordOrderResponse()

    async def confirm_order(
        self, request: ConfirmOrderRequest, call: EffectCall
    ) -> ConfirmOrderResponse:
        return ConfirmOrderResponse()

    async def announce_order(
        self, request: AnnounceOrderRequest, call: EffectCall
    ) -> AnnounceOrderResponse:
        return AnnounceOrderResponse()


class Orders(OrderReducer):
    """A reducer, one of whose methods wishes for nothing, one for more than one kind of thing."""

    def place_order(
        self, state: Order, request: PlaceOrderRequest, action: Action
    ) -> Reduction[Order, PlaceOrderResponse, OrderIntent]:
        intents: list[OrderIntent] = [
            DeskIntents.record_order(RecordOrderRequest(order=state), order_key=request.order_id),
            DeskIntents.confirm_order(ConfirmOrderRequest(order=request.order)),
        ]
        return Reduction(state, PlaceOrderResponse(order=state), intents)

    def confirm_payment(
        self, state: Order, request: ConfirmPaymentRequest, action: Action
    ) -> Reduction[Order, ConfirmPaymentResponse, OrderIntent]:
        return Reduction(state, ConfirmPaymentResponse(order=state))

    def ship_order(
        self, state: Order, request: ShipOrderRequest, action: Action
    ) -> Reduction[Order, ShipOrderResponse, OrderIntent]:
        wish = DeskIntents.announce_order(AnnounceOrderRequest(order=state))
        row = DeskIntents.record_order(RecordOrderRequest(order=state))
        return Reduction(state, ShipOrderResponse(order=state), [wish, row])


class Fulfilment(FulfilmentOrchestrator):
    """An orchestrator."""

    async def fulfil_order(
        self, request: FulfilOrderRequest, mesh: FulfilmentMesh, workflow: WorkflowCall
    ) -> FulfilOrderResponse:
        line = await mesh.desk.read_line(ReadLineRequest(file=request.file, line=request.line))
        parsed = await mesh.pricing.parse_line(ParseLineRequest(text=line.text))
        placed = await mesh.order.place_order(
            PlaceOrderRequest(order_id=parsed.line.order_id), timeout=2.5
        )
        return FulfilOrderResponse(order=placed.order)


async def call(client: OrderClient) -> Order:
    """A caller."""
    answer = await client.ship_order(ShipOrderRequest(order_id="CD00001"), timeout=1)
    return answer.order


def make(container: ModelONEXContainer) -> tuple[Prices, Desk, Orders, Fulfilment]:
    """Classes with all their methods can be instantiated."""
    return Prices(container), Desk(container), Orders(container), Fulfilment(container)
