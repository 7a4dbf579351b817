"""The REDUCER node of the sample mesh: IDLE → ORDER_PLACED → PAYMENT_CONFIRMED → SHIPPED."""

from __future__ import annotations

from onex.v1 import node_pb2
from onex_grpc.node import NodeReducer
from onex_grpc.reducer import ReducerAction, Reduction, StateMachine, Transition
from onex_grpc.serve import serve
from orders.v1 import orders_pb2
from servers.order_intents import announce, confirm_by_mail, insert_row, update_row

_NEW_STATUS = {
    "PLACE_ORDER": orders_pb2.ORDER_STATUS_ORDER_PLACED,
    "CONFIRM_PAYMENT": orders_pb2.ORDER_STATUS_PAYMENT_CONFIRMED,
    "SHIP_ORDER": orders_pb2.ORDER_STATUS_SHIPPED,
}


class OrderReducer(NodeReducer[orders_pb2.Order]):
    """The state of every order, by its id; what is to happen outside is declared as intents."""

    descriptor = node_pb2.NodeDescriptor(name="orders", version="1.0.0")
    state_type = orders_pb2.Order
    machine = StateMachine(
        field="status",
        initial="ORDER_STATUS_IDLE",
        transitions=[
            Transition(
                "PLACE_ORDER",
                sources=["ORDER_STATUS_IDLE"],
                targets=["ORDER_STATUS_ORDER_PLACED"],
                payload=orders_pb2.PricedOrder,
                guard="action.amount_cents >= 0 && action.line.quantity > 0u"
                " && action.line.order_id.matches('^[A-Za-z0-9-]{1,64}$')"
                " && action.line.customer_id.matches('^[A-Za-z0-9-]{1,64}$')",
            ),
            Transition(
                "CONFIRM_PAYMENT",
                sources=["ORDER_STATUS_ORDER_PLACED"],
                targets=["ORDER_STATUS_PAYMENT_CONFIRMED"],
            ),
            Transition(
                "SHIP_ORDER",
                sources=["ORDER_STATUS_PAYMENT_CONFIRMED"],
                targets=["ORDER_STATUS_SHIPPED"],
            ),
        ],
    )

    def transition(
        self, state: orders_pb2.Order, action: ReducerAction
    ) -> Reduction[orders_pb2.Order]:
        """The order after the action, and the intents that go with it."""
        status = _NEW_STATUS[action.name]
        if action.name == "PLACE_ORDER":
            order = orders_pb2.Order(status=status, details=action.message(orders_pb2.PricedOrder))
            return Reduction(order, [insert_row(order), confirm_by_mail(order), announce(order)])
        order = orders_pb2.Order(status=status, details=state.details)
        return Reduction(order, [update_row(order)])


if __name__ == "__main__":
    serve(OrderReducer)
