"""Reductions over a real SQLite store: durability, repeats, conflicts, leases, intents, spans."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, cast

import pytest

from onex.v1 import intent_pb2, node_pb2, operation_pb2, reducer_pb2
from onex_grpc.container import ModelONEXContainer
from onex_grpc.context import CallContext, LeaseClaim, enter_call
from onex_grpc.contract.data import pack, unpack, unpack_as
from onex_grpc.errors import (
    AlreadyExistsError,
    ContractValidationError,
    OnexError,
    StaleFenceError,
    StateConsistencyError,
    TransitionError,
    UnimplementedError,
)
from onex_grpc.node.reducer import NodeReducer
from onex_grpc.reducer import ReducerAction, Reduction, StateMachine, Transition
from onex_grpc.store import Commit, Exact, IntentState, Store, open_store
from orders.v1 import orders_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from google.protobuf.message import Message

    from onex.v1 import reducer_pb2_grpc

CORRELATION = "0198c0de-0000-7000-8000-00000000000c"
ISSUED_MS = 1_700_000_000_123
IDLE, PLACED, PAID, SHIPPED = (
    "ORDER_STATUS_IDLE",
    "ORDER_STATUS_ORDER_PLACED",
    "ORDER_STATUS_PAYMENT_CONFIRMED",
    "ORDER_STATUS_SHIPPED",
)


def notification(to: str = "a@b.invalid") -> intent_pb2.ModelIntent:
    return intent_pb2.ModelIntent(
        intent_type=intent_pb2.INTENT_TYPE_NOTIFICATION,
        target="mail",
        payload=operation_pb2.EffectOperation(
            notification=operation_pb2.Notification(template="order", to=to)
        ),
    )


class Orders(NodeReducer[orders_pb2.Order]):
    descriptor = node_pb2.NodeDescriptor(name="orders", version="1.0.0")
    state_type = orders_pb2.Order
    machine = StateMachine(
        "status",
        IDLE,
        (
            Transition("PLACE_ORDER", (IDLE,), (PLACED,), orders_pb2.PricedOrder),
            Transition("CONFIRM_PAYMENT", (PLACED,), (PAID,)),
            Transition("SHIP_ORDER", (PAID,), (SHIPPED,)),
        ),
    )
    runs = 0
    emit: tuple[intent_pb2.ModelIntent, ...] = ()
    ends_in: orders_pb2.OrderStatus.ValueType | None = None
    last: ReducerAction | None = None

    def transition(
        self, state: orders_pb2.Order, action: ReducerAction
    ) -> Reduction[orders_pb2.Order]:
        self.runs += 1
        self.last = action
        state.status += 1  # type: ignore[assignment]
        if action.name == "PLACE_ORDER":
            state.details.CopyFrom(action.message(orders_pb2.PricedOrder))
        if self.ends_in is not None:
            state.status = self.ends_in
        return Reduction(state, self.emit)


def contract(
    action: str, payload: Message | None = None, *, key: str = "CD1", action_id: str = ""
) -> reducer_pb2.ModelContractReducer:
    made = reducer_pb2.ModelContractReducer(
        correlation_id=CORRELATION,
        action_id=action_id,
        reduction_config=reducer_pb2.ReductionConfig(state_key=key),
        input_data=reducer_pb2.ReducerInput(action=action),
    )
    made.issued_at.FromMilliseconds(ISSUED_MS)
    if payload is not None:
        made.input_data.payload.CopyFrom(pack(payload))
    return made


def place(
    action_id: str = "", *, key: str = "CD1", cents: int = 5
) -> reducer_pb2.ModelContractReducer:
    return contract(
        "PLACE_ORDER", orders_pb2.PricedOrder(amount_cents=cents), key=key, action_id=action_id
    )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(tmp_path / "reducer.db")
    yield opened
    await opened.close()


def node_over(store: Store) -> Orders:
    container = ModelONEXContainer()
    container.register(Store, store)
    return Orders(container)


@pytest.fixture
def orders(store: Store) -> Orders:
    return node_over(store)


async def pending(store: Store) -> list[intent_pb2.ModelIntent]:
    rows = await store.list_intents(IntentState.PENDING, 0, 100)
    return [intent_pb2.ModelIntent.FromString(row.payload) for row in rows]


async def test_course_of_an_order(orders: Orders, store: Store) -> None:
    first = await orders.execute_reduction(place())
    assert first.correlation_id == CORRELATION
    assert first.state_metadata == reducer_pb2.StateMetadata(
        previous_state=IDLE, new_state=PLACED, transition="PLACE_ORDER", version=1
    )
    await orders.execute_reduction(contract("CONFIRM_PAYMENT"))
    last = await orders.execute_reduction(contract("SHIP_ORDER"))
    state = unpack_as(last.aggregated_data, orders_pb2.Order)
    assert (state.status, state.details.amount_cents) == (orders_pb2.ORDER_STATUS_SHIPPED, 5)
    # What another process would find after a crash.
    read = await node_over(store).get_state("CD1")
    assert (unpack(read.state), read.version) == (state, 3)


async def test_history_of_an_entity_is_streamed(orders: Orders) -> None:
    await orders.execute_reduction(place())
    await orders.execute_reduction(contract("CONFIRM_PAYMENT"))
    await orders.execute_reduction(place(key="other"))
    first, second = [entry async for entry in orders.list_history("CD1", 0)]
    assert (first.kind, second.kind) == ("PLACE_ORDER", "CONFIRM_PAYMENT")
    assert first.action_id != second.action_id
    assert [entry.version async for entry in orders.list_history("CD1", 1)] == [2]
    stub = cast("reducer_pb2_grpc.ReducerNodeServiceServicer", orders.services()[0].servicer)
    request = reducer_pb2.ListStateHistoryRequest(state_key="CD1")
    no_context: Any = None
    entries = [answer.entry async for answer in stub.ListHistory(request, no_context)]
    assert [entry.version for entry in entries] == [1, 2]
    placed = unpack_as(entries[0].state, orders_pb2.Order)
    assert placed.status == orders_pb2.ORDER_STATUS_ORDER_PLACED


async def test_state_of_an_unknown_key_is_the_initial_one(orders: Orders) -> None:
    read = await orders.get_state("never")
    assert unpack(read.state) == orders_pb2.Order(status=orders_pb2.ORDER_STATUS_IDLE)
    assert read.version == 0


async def test_keys_are_independent(orders: Orders) -> None:
    await orders.execute_reduction(place(key="A"))
    assert (await orders.get_state("A")).version == 1
    assert (await orders.get_state("B")).version == 0


async def test_repeat_gets_the_recorded_reply(orders: Orders, store: Store) -> None:
    action_id = str(uuid.uuid4())
    first = await orders.execute_reduction(place(action_id))
    repeat = place(action_id)
    repeat.issued_at.FromMilliseconds(ISSUED_MS + 60_000)
    for node in (orders, node_over(store)):
        assert await node.execute_reduction(repeat) == first
    assert (await orders.get_state("CD1")).version == 1


async def test_repeat_after_later_actions(orders: Orders) -> None:
    action_id = str(uuid.uuid4())
    first = await orders.execute_reduction(place(action_id))
    await orders.execute_reduction(contract("CONFIRM_PAYMENT"))
    assert await orders.execute_reduction(place(action_id)) == first


async def test_same_action_at_the_same_time_is_applied_once(orders: Orders, store: Store) -> None:
    orders.emit = (notification(),)
    action_id = str(uuid.uuid4())
    replies = await asyncio.gather(*(orders.execute_reduction(place(action_id)) for _ in range(8)))
    assert all(reply == replies[0] for reply in replies)
    assert len(await pending(store)) == 1
    assert (await orders.get_state("CD1")).version == 1


async def test_same_id_with_other_content(orders: Orders) -> None:
    action_id = str(uuid.uuid4())
    await orders.execute_reduction(place(action_id))
    with pytest.raises(AlreadyExistsError, match=action_id):
        await orders.execute_reduction(place(action_id, cents=6))
    with pytest.raises(AlreadyExistsError, match=action_id):
        await orders.execute_reduction(place(action_id, key="CD2"))


async def test_a_repeat_may_come_in_another_course_of_calls(orders: Orders) -> None:
    action_id = str(uuid.uuid4())
    first = await orders.execute_reduction(place(action_id))
    other = place(action_id)
    other.correlation_id = str(uuid.uuid4())
    assert await orders.execute_reduction(other) == first


async def test_action_id_of_the_header(orders: Orders) -> None:
    action_id = str(uuid.uuid4())
    enter_call(CallContext(correlation_id=CORRELATION, action_id=action_id))
    first = await orders.execute_reduction(place())
    assert await orders.execute_reduction(place()) == first
    assert await orders.execute_reduction(place(action_id)) == first


async def test_action_without_an_id_is_applied_each_time(orders: Orders) -> None:
    await orders.execute_reduction(place())
    with pytest.raises(TransitionError):
        await orders.execute_reduction(place())


async def test_time_of_receipt_where_none_is_given(orders: Orders) -> None:
    timeless = place()
    timeless.ClearField("issued_at")
    await orders.execute_reduction(timeless)
    assert orders.last is not None
    assert orders.last.issued_at.year >= 2024
    await orders.execute_reduction(contract("CONFIRM_PAYMENT"))
    assert round(orders.last.issued_at.timestamp() * 1000) == ISSUED_MS


async def test_refused_actions_write_nothing(orders: Orders, store: Store) -> None:
    with pytest.raises(TransitionError):
        await orders.execute_reduction(contract("SHIP_ORDER"))
    with pytest.raises(ContractValidationError, match="known: CONFIRM_PAYMENT, PLACE_ORDER"):
        await orders.execute_reduction(contract("CANCEL"))
    with pytest.raises(ContractValidationError, match="payload"):
        await orders.execute_reduction(contract("PLACE_ORDER", orders_pb2.Order()))
    assert (await store.get_state("reducer/orders/CD1")).version == 0


async def test_end_outside_the_targets_writes_nothing(orders: Orders, store: Store) -> None:
    orders.emit = (notification(),)
    orders.ends_in = orders_pb2.ORDER_STATUS_SHIPPED
    with pytest.raises(StateConsistencyError, match="declared to end in"):
        await orders.execute_reduction(place())
    assert (await store.get_state("reducer/orders/CD1")).version == 0
    assert await pending(store) == []


async def test_intents_are_committed_with_the_state(orders: Orders, store: Store) -> None:
    own = notification()
    own.idempotency_key = "key-1"
    own.priority = intent_pb2.INTENT_PRIORITY_CRITICAL
    own.retry_policy.max_retries = 0
    orders.emit = (notification(), own)
    action_id = str(uuid.uuid4())
    output = await orders.execute_reduction(place(action_id))
    assert output.state_metadata.intents_emitted == 2
    assert sorted(i.intent_id for i in await pending(store)) == sorted(
        i.intent_id for i in output.intents
    )
    plain, keyed = output.intents
    assert plain.correlation_id == keyed.correlation_id == CORRELATION
    assert plain.idempotency_key == plain.intent_id
    assert keyed.idempotency_key == "key-1"
    ids = [uuid.UUID(intent.intent_id) for intent in output.intents]
    assert [i.int >> 80 for i in ids] == [ISSUED_MS, ISSUED_MS]
    assert [i.version for i in ids] == [7, 7]
    claims = {c.intent_id: c for c in await store.claim_intents("effect/x", 10, 1_000_000)}
    assert claims[plain.intent_id].max_attempts == 13
    assert claims[keyed.intent_id].max_attempts == 1


async def test_priority_decides_what_is_taken_first(orders: Orders, store: Store) -> None:
    urgent = notification("urgent@b.invalid")
    urgent.priority = intent_pb2.INTENT_PRIORITY_CRITICAL
    orders.emit = (notification(), urgent)
    plain, critical = (await orders.execute_reduction(place())).intents
    claims = await store.claim_intents("effect/x", 2, 1_000_000)
    assert [c.intent_id for c in claims] == [critical.intent_id, plain.intent_id]


async def test_order_key_makes_intents_wait_for_each_other(orders: Orders, store: Store) -> None:
    first, second = notification(), notification()
    first.order_key = second.order_key = "CD1"
    orders.emit = (first, second)
    output = await orders.execute_reduction(place())
    (claim,) = await store.claim_intents("effect/x", 2, 1_000_000)
    assert claim.intent_id == output.intents[0].intent_id
    await store.complete_intents([claim.claim_token])
    (claim,) = await store.claim_intents("effect/x", 2, 1_000_000)
    assert claim.intent_id == output.intents[1].intent_id


async def test_ids_are_the_same_in_every_run(tmp_path: Path) -> None:
    action_id = str(uuid.uuid4())
    seen = []
    for name in ("a", "b"):
        store = await open_store(tmp_path / f"{name}.db")
        node = node_over(store)
        node.emit = (notification(), notification())
        output = await node.execute_reduction(place(action_id))
        assert node.last is not None
        seen.append([*(i.intent_id for i in output.intents), node.last.new_id("parcel")])
        await store.close()
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 3


async def test_wrong_intent_is_the_reducers_fault(orders: Orders, store: Store) -> None:
    wrong = notification()
    wrong.intent_type = intent_pb2.INTENT_TYPE_DATABASE_WRITE
    orders.emit = (notification(), wrong)
    with pytest.raises(OnexError, match="intent 1 of PLACE_ORDER") as caught:
        await orders.execute_reduction(place())
    assert caught.value.reason == "INTERNAL"
    twin = notification()
    twin.intent_id = str(uuid.uuid4())
    orders.emit = (twin, twin)
    with pytest.raises(OnexError, match="two intents"):
        await orders.execute_reduction(place())
    unbuilt = notification()
    unbuilt.intent_type = intent_pb2.INTENT_TYPE_API_CALL
    orders.emit = (unbuilt,)
    with pytest.raises(UnimplementedError, match="API_CALL"):
        await orders.execute_reduction(place())
    assert (await store.get_state("reducer/orders/CD1")).version == 0


async def test_state_changed_by_another_process(orders: Orders, store: Store) -> None:
    await orders.execute_reduction(place())
    paid = orders_pb2.Order(status=orders_pb2.ORDER_STATUS_PAYMENT_CONFIRMED)
    change = Commit("reducer/orders/CD1", Exact(1), paid.SerializeToString(), "orders.v1.Order")
    await store.commit(change)
    # Neither the cached state's refusal nor its version counts.
    output = await orders.execute_reduction(contract("SHIP_ORDER"))
    assert output.state_metadata.version == 3
    idle = orders_pb2.Order(status=orders_pb2.ORDER_STATUS_IDLE)
    await store.commit(
        Commit("reducer/orders/CD1", Exact(3), idle.SerializeToString(), "orders.v1.Order")
    )
    with pytest.raises(TransitionError, match=IDLE):
        await orders.execute_reduction(contract("SHIP_ORDER"))


async def test_conflict_runs_the_transition_again(orders: Orders, store: Store) -> None:
    await orders.execute_reduction(place())
    placed = await store.get_state("reducer/orders/CD1")
    await store.commit(Commit("reducer/orders/CD1", Exact(1), placed.state, "orders.v1.Order"))
    orders.runs = 0
    output = await orders.execute_reduction(contract("CONFIRM_PAYMENT"))
    assert (output.state_metadata.version, orders.runs) == (3, 2)


async def test_stored_bytes_of_another_type(orders: Orders, store: Store) -> None:
    await store.commit(Commit("reducer/orders/CD1", Exact(0), b"", "x.Y"))
    with pytest.raises(StateConsistencyError, match=r"x\.Y"):
        await orders.get_state("CD1")
    await store.commit(Commit("reducer/orders/CD2", Exact(0), b"\xff", "orders.v1.Order"))
    with pytest.raises(StateConsistencyError, match="bytes"):
        await orders.execute_reduction(place(key="CD2"))


async def test_fence_is_checked_in_the_commit(orders: Orders, store: Store) -> None:
    def under(fence: int, lease_id: str) -> None:
        claim = LeaseClaim("wf", lease_id, fence, "token")
        enter_call(CallContext(correlation_id=CORRELATION, lease=claim, workflow_id="wf"))

    under(8, "new")
    await orders.execute_reduction(place())
    under(7, "old")
    with pytest.raises(StaleFenceError):
        await orders.execute_reduction(contract("CONFIRM_PAYMENT"))
    assert (await orders.get_state("CD1")).version == 1
    under(8, "new")
    await orders.execute_reduction(contract("CONFIRM_PAYMENT"))


async def test_many_actions_on_one_key_are_applied_one_by_one(store: Store) -> None:
    class Counter(NodeReducer[orders_pb2.PricedOrder]):
        descriptor = node_pb2.NodeDescriptor(name="counter", version="1.0.0")
        state_type = orders_pb2.PricedOrder

        def transition(
            self, state: orders_pb2.PricedOrder, action: ReducerAction
        ) -> Reduction[orders_pb2.PricedOrder]:
            state.amount_cents += 1
            return Reduction(state)

    container = ModelONEXContainer()
    container.register(Store, store)
    node = Counter(container)
    await asyncio.gather(*(node.execute_reduction(contract("anything")) for _ in range(50)))
    read = await node.get_state("CD1")
    assert read.version == 50
    assert unpack_as(read.state, orders_pb2.PricedOrder).amount_cents == 50
    assert node.operations() == ()


async def test_cancelled_callers_leave_the_key_usable(orders: Orders) -> None:
    tasks = [asyncio.create_task(orders.execute_reduction(place())) for _ in range(4)]
    await asyncio.sleep(0)
    for task in tasks[:3]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await orders.execute_reduction(contract("CONFIRM_PAYMENT"))


async def test_what_was_handed_out_does_not_change_the_state(orders: Orders) -> None:
    kept: list[orders_pb2.Order] = []
    run = orders.transition

    class Leaky(Orders):
        def transition(
            self, state: orders_pb2.Order, action: ReducerAction
        ) -> Reduction[orders_pb2.Order]:
            reduction = run(state, action)
            kept.append(reduction.state)
            return reduction

    node = Leaky(orders.container)
    await node.execute_reduction(place())
    kept[0].status = orders_pb2.ORDER_STATUS_SHIPPED
    output = await node.execute_reduction(contract("CONFIRM_PAYMENT"))
    assert output.state_metadata.previous_state == PLACED


async def test_node_describes_itself(orders: Orders) -> None:
    assert orders.name == "reducer/orders"
    assert orders.operations() == ("CONFIRM_PAYMENT", "PLACE_ORDER", "SHIP_ORDER")
    assert len(orders.services()) == 2
