"""The REDUCER node of the sample mesh: IDLE → ORDER_PLACED → PAYMENT_CONFIRMED → SHIPPED."""

from onex_grpc.serve import serve
from onex_grpc.typed import CRITICAL, HIGH, Action, Intent, Reduction
from orders.v1.desk_onex import DeskIntents
from orders.v1.desk_pb2 import AnnounceOrderRequest, ConfirmOrderRequest, RecordOrderRequest
from orders.v1.order_service_onex import OrderIntent, OrderReducer
from orders.v1.order_service_pb2 import (
    ConfirmPaymentRequest,
    ConfirmPaymentResponse,
    PlaceOrderRequest,
    PlaceOrderResponse,
    ShipOrderRequest,
    ShipOrderResponse,
)
from orders.v1.orders_pb2 import (
    ORDER_STATUS_ORDER_PLACED,
    ORDER_STATUS_PAYMENT_CONFIRMED,
    ORDER_STATUS_SHIPPED,
    Order,
)


class Orders(OrderReducer):
    """The state of every order, by its id; what is to happen outside is declared as intents."""

    def place_order(
        self, state: Order, request: PlaceOrderRequest, action: Action
    ) -> Reduction[Order, PlaceOrderResponse, OrderIntent]:
        """A new order: its row, a confirmation by mail, an event."""
        order = Order(status=ORDER_STATUS_ORDER_PLACED, details=request.order)
        confirm = DeskIntents.confirm_order(
            ConfirmOrderRequest(order=request.order),
            priority=HIGH,
            idempotency_key=f"mail:{request.order_id}:placed",
        )
        announce = DeskIntents.announce_order(
            AnnounceOrderRequest(order=order), idempotency_key=f"event:{request.order_id}:placed"
        )
        return Reduction(
            order, PlaceOrderResponse(order=order), [_record(order), confirm, announce]
        )

    def confirm_payment(
        self, state: Order, request: ConfirmPaymentRequest, action: Action
    ) -> Reduction[Order, ConfirmPaymentResponse, OrderIntent]:
        """The order is paid."""
        state.status = ORDER_STATUS_PAYMENT_CONFIRMED
        return Reduction(state, ConfirmPaymentResponse(order=state), [_record(state)])

    def ship_order(
        self, state: Order, request: ShipOrderRequest, action: Action
    ) -> Reduction[Order, ShipOrderResponse, OrderIntent]:
        """The order is on its way."""
        state.status = ORDER_STATUS_SHIPPED
        return Reduction(state, ShipOrderResponse(order=state), [_record(state)])


def _record(order: Order) -> Intent[RecordOrderRequest]:
    order_id = order.details.line.order_id
    return DeskIntents.record_order(
        RecordOrderRequest(order=order),
        priority=CRITICAL,
        idempotency_key=f"row:{order_id}:{order.status}",
        # A status must not overtake the one before it.
        order_key=order_id,
    )


if __name__ == "__main__":
    serve(Orders)
