"""Mistakes of a user's that type checkers refuse, each below a line that names it; never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from onex_grpc.typed import Intent, Reduction
from orders.v1.desk_onex import DeskIntents
from orders.v1.desk_pb2 import ReadLineRequest, RecordOrderRequest
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
from orders.v1.pricing_pb2 import ParseLineRequest, ParseLineResponse

if TYPE_CHECKING:
    from onex_grpc import ModelONEXContainer
    from onex_grpc.typed import Action
    from orders.v1.fulfilment_onex import FulfilmentMesh


Placed: TypeAlias = Reduction[Order, PlaceOrderResponse, OrderIntent]
Shipped: TypeAlias = Reduction[Order, ShipOrderResponse, OrderIntent]


class Orders(OrderReducer):
    def place_order(self, state: Order, request: PlaceOrderRequest, action: Action) -> Placed:
        undeclared = DeskIntents.read_line(ReadLineRequest())
        # wrong: undeclared intent
        return Reduction(state, PlaceOrderResponse(), [undeclared])

    def confirm_payment(
        self, state: Order, request: ConfirmPaymentRequest, action: Action
    ) -> Reduction[Order, ConfirmPaymentResponse, OrderIntent]:
        # wrong: state of another type
        return Reduction(PricedOrder(), ConfirmPaymentResponse())

    # wrong: request of another type
    def ship_order(self, state: Order, request: PlaceOrderRequest, action: Action) -> Shipped:
        # wrong: response of another type
        return Reduction(state, PlaceOrderResponse())


class WrongState(OrderReducer):
    # wrong: state of another type
    def place_order(self, state: PricedOrder, request: PlaceOrderRequest, action: Action) -> Placed:
        return Reduction(Order(), PlaceOrderResponse())


class Prices(PricingCompute):
    def parse_line(self, request: ParseLineRequest) -> ParseLineResponse:
        # wrong: unknown field
        return ParseLineResponse(line=request.nothing)


class Waiting(PricingCompute):
    # wrong: a calculation is no coroutine
    async def parse_line(self, request: ParseLineRequest) -> ParseLineResponse:
        return ParseLineResponse()


def make(container: ModelONEXContainer) -> Prices:
    # wrong: method price_order is missing
    return Prices(container)


async def call(client: OrderClient, mesh: FulfilmentMesh) -> None:
    # wrong: unknown method of a client
    await client.cancel_order(ShipOrderRequest())
    # wrong: request of another type
    await client.ship_order(PlaceOrderRequest())
    # wrong: timeout of another type
    await client.ship_order(ShipOrderRequest(), timeout="1s")
    # wrong: no dependency
    await mesh.mail.ship_order(ShipOrderRequest())


def wish() -> Intent[RecordOrderRequest]:
    # wrong: request of another type
    DeskIntents.record_order(ReadLineRequest())
    # wrong: priority
    return DeskIntents.record_order(RecordOrderRequest(), priority="HIGH")
