"""State machines: what is refused when a class is made, and what a checked one says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from google.protobuf import struct_pb2

from onex.v1 import common_pb2, node_pb2
from onex_grpc.contract.data import JSON, pack
from onex_grpc.errors import (
    ConfigurationError,
    ContractValidationError,
    GuardRejectedError,
    StateConsistencyError,
    TransitionError,
)
from onex_grpc.node.reducer import NodeReducer
from onex_grpc.reducer import ReducerAction, Reduction, StateMachine, Transition
from onex_grpc.reducer.checked_machine import CheckedMachine
from orders.v1 import orders_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

IDLE, PLACED, PAID, SHIPPED = (
    "ORDER_STATUS_IDLE",
    "ORDER_STATUS_ORDER_PLACED",
    "ORDER_STATUS_PAYMENT_CONFIRMED",
    "ORDER_STATUS_SHIPPED",
)
PLACE = Transition(
    "PLACE_ORDER", (IDLE,), (PLACED,), orders_pb2.PricedOrder, "action.line.quantity >= 1u"
)
PAY = Transition("CONFIRM_PAYMENT", (PLACED,), (PAID,))
SHIP = Transition("SHIP_ORDER", (PAID,), (SHIPPED,))
MACHINE = StateMachine("status", IDLE, (PLACE, PAY, SHIP))


def act(name: str, payload: Message | JSON = None) -> ReducerAction:
    data = common_pb2.Data() if payload is None else pack(payload)
    return ReducerAction(name, "CD1", "a", "c", datetime(2026, 1, 1, tzinfo=UTC), data)


def order(status: str) -> orders_pb2.Order:
    return orders_pb2.Order(status=orders_pb2.OrderStatus.Value(status))


@pytest.mark.parametrize(
    ("machine", "fault"),
    [
        (replace(MACHINE, field="nope"), "no enum field 'nope'"),
        (replace(MACHINE, field="details"), "no enum field 'details'"),
        (replace(MACHINE, initial=""), "initial state is missing"),
        (replace(MACHINE, initial="IDLE"), "unknown initial state 'IDLE'"),
        (replace(MACHINE, initial="ORDER_STATUS_UNSPECIFIED"), "unknown initial state"),
        (replace(MACHINE, transitions=()), "no transitions"),
        (replace(MACHINE, transitions=(PLACE, PAY)), f"{SHIPPED} cannot be reached"),
        (replace(MACHINE, initial=PLACED), f"{IDLE} cannot be reached"),
        (
            replace(MACHINE, transitions=(PLACE, PAY, replace(SHIP, targets=("SENT",)))),
            "SHIP_ORDER names the unknown state 'SENT'",
        ),
        (
            replace(MACHINE, transitions=(PLACE, PAY, replace(SHIP, sources=()))),
            "SHIP_ORDER needs at least one source",
        ),
        (
            replace(MACHINE, transitions=(PLACE, PAY, replace(SHIP, action=""))),
            "action name '' is empty",
        ),
        (
            replace(MACHINE, transitions=(PLACE, PAY, SHIP, replace(SHIP, targets=(IDLE,)))),
            f"2 transitions of SHIP_ORDER leave {PAID}",
        ),
        (
            replace(MACHINE, transitions=(PLACE, PLACE, PAY, SHIP)),
            f"2 transitions of PLACE_ORDER leave {IDLE}",
        ),
        (
            replace(MACHINE, transitions=(PLACE, replace(PLACE, payload=None), PAY, SHIP)),
            "transitions of PLACE_ORDER have different payloads",
        ),
        (
            replace(MACHINE, transitions=(replace(PLACE, guard="state."), PAY, SHIP)),
            "guard of PLACE_ORDER",
        ),
        (
            replace(MACHINE, transitions=(replace(PLACE, guard="action.price > 1"), PAY, SHIP)),
            "undefined field 'price'",
        ),
        (
            replace(MACHINE, transitions=(replace(PLACE, guard="state.status"), PAY, SHIP)),
            "neither true nor false",
        ),
        (
            replace(MACHINE, transitions=(PLACE, replace(PAY, guard="action.x == 1"), SHIP)),
            "undeclared reference to 'action.x'",
        ),
    ],
)
def test_wrong_machine_is_refused_with_its_class(machine: StateMachine, fault: str) -> None:
    namespace = {
        "descriptor": node_pb2.NodeDescriptor(name="wrong", version="1.0.0"),
        "state_type": orders_pb2.Order,
        "machine": machine,
    }
    with pytest.raises(ConfigurationError) as caught:
        type("Wrong", (NodeReducer,), namespace)
    assert fault in caught.value.message


def test_all_faults_of_a_machine_are_named_at_once() -> None:
    wrong = StateMachine("status", "A", (replace(PAY, sources=("B",), targets=("C",)),))
    with pytest.raises(ConfigurationError, match=r"'A'.*'B'.*'C'"):
        CheckedMachine(wrong, orders_pb2.Order)


def test_execute_reduction_is_final() -> None:
    with pytest.raises(ConfigurationError, match="final"):
        type("Wrong", (NodeReducer,), {"execute_reduction": lambda self, contract: contract})


def test_async_transition_is_refused() -> None:
    async def transition(
        self: object, state: orders_pb2.Order, action: ReducerAction
    ) -> Reduction[orders_pb2.Order]:
        return Reduction(state)

    with pytest.raises(ConfigurationError, match="plain def"):
        type("Wrong", (NodeReducer,), {"transition": transition})


def test_known_actions_and_initial_state() -> None:
    machine = CheckedMachine(MACHINE, orders_pb2.Order)
    state = orders_pb2.Order()
    machine.put_initial(state)
    assert machine.actions == ("CONFIRM_PAYMENT", "PLACE_ORDER", "SHIP_ORDER")
    assert machine.name_of(state) == IDLE


def test_unknown_action_lists_the_known_ones() -> None:
    with pytest.raises(ContractValidationError, match="CONFIRM_PAYMENT, PLACE_ORDER, SHIP_ORDER"):
        CheckedMachine(MACHINE, orders_pb2.Order).select(order(IDLE), act("CANCEL"))


@pytest.mark.parametrize("payload", [None, [1], orders_pb2.Order()])
def test_wrong_payload(payload: Message | JSON) -> None:
    with pytest.raises(ContractValidationError) as caught:
        CheckedMachine(MACHINE, orders_pb2.Order).select(order(IDLE), act("PLACE_ORDER", payload))
    assert caught.value.violations[0].field == "input_data.payload"


def test_payload_where_none_is_wanted() -> None:
    with pytest.raises(ContractValidationError, match="must not be set"):
        CheckedMachine(MACHINE, orders_pb2.Order).select(order(PLACED), act("CONFIRM_PAYMENT", 1))


def test_illegal_transition_says_what_is_possible() -> None:
    machine = CheckedMachine(MACHINE, orders_pb2.Order)
    with pytest.raises(TransitionError, match="possible: CONFIRM_PAYMENT") as caught:
        machine.select(order(PLACED), act("SHIP_ORDER"))
    assert caught.value.reason == "ILLEGAL_TRANSITION"
    with pytest.raises(TransitionError, match="it is final"):
        machine.select(order(SHIPPED), act("SHIP_ORDER"))


def test_guard_says_no() -> None:
    machine = CheckedMachine(MACHINE, orders_pb2.Order)
    with pytest.raises(GuardRejectedError, match=r"action\.line\.quantity >= 1u"):
        machine.select(order(IDLE), act("PLACE_ORDER", orders_pb2.PricedOrder()))


def test_guards_choose_among_transitions_of_one_action() -> None:
    json = struct_pb2.Value
    machine = CheckedMachine(
        StateMachine(
            "status",
            IDLE,
            (
                Transition("GO", (IDLE,), (PLACED,), json, "action.amount < 10.0"),
                Transition("GO", (IDLE,), (PAID, SHIPPED), json, "action.amount >= 10.0"),
            ),
        ),
        orders_pb2.Order,
    )
    assert machine.select(order(IDLE), act("GO", {"amount": 1})).targets == (PLACED,)
    assert machine.select(order(IDLE), act("GO", {"amount": 10})).targets == (PAID, SHIPPED)
    with pytest.raises(ContractValidationError, match="amount"):
        machine.select(order(IDLE), act("GO", {"other": 1}))
    with pytest.raises(ContractValidationError, match="JSON-like"):
        machine.select(order(IDLE), act("GO", orders_pb2.Order()))


def test_end_must_be_a_target() -> None:
    machine = CheckedMachine(MACHINE, orders_pb2.Order)
    assert machine.confirm(PLACE, order(PLACED)) == PLACED
    with pytest.raises(StateConsistencyError, match="declared to end in"):
        machine.confirm(PLACE, order(PAID))
    with pytest.raises(StateConsistencyError, match="not a state"):
        machine.confirm(PLACE, orders_pb2.Order())
