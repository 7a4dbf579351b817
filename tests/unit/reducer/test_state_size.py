"""A state that no message could bring is refused before it is written."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from onex.v1 import node_pb2, reducer_pb2, reducer_pb2_grpc
from onex_grpc.container import ModelONEXContainer
from onex_grpc.contract.data import pack
from onex_grpc.errors import ResourceExhaustedError
from onex_grpc.node.reducer import NodeReducer
from onex_grpc.reducer import ReducerAction, Reduction, StateMachine, Transition
from onex_grpc.rpc.limits import MESSAGE_BYTES
from onex_grpc.serve import Settings
from onex_grpc.serve.settings import LimitSettings
from onex_grpc.store import IntentState, Store, open_store
from onex_grpc.testing.mesh import LocalMesh
from orders.v1 import orders_pb2

if TYPE_CHECKING:
    from pathlib import Path

_ANY = tuple(orders_pb2.OrderStatus.keys()[1:])


class Hoarder(NodeReducer[orders_pb2.Order]):
    """Keeps all that it was ever told."""

    descriptor = node_pb2.NodeDescriptor(name="hoarder", version="1.0.0")
    state_type = orders_pb2.Order
    machine = StateMachine(
        "status", _ANY[0], (Transition("KEEP", _ANY, _ANY, orders_pb2.OrderLine),)
    )

    def transition(
        self, state: orders_pb2.Order, action: ReducerAction
    ) -> Reduction[orders_pb2.Order]:
        state.details.line.customer_id += action.message(orders_pb2.OrderLine).customer_id
        return Reduction(state)


def keep(action_id: str, size: int) -> reducer_pb2.ModelContractReducer:
    return reducer_pb2.ModelContractReducer(
        action_id=action_id,
        reduction_config=reducer_pb2.ReductionConfig(state_key="k"),
        input_data=reducer_pb2.ReducerInput(
            action="KEEP", payload=pack(orders_pb2.OrderLine(customer_id="x" * size))
        ),
    )


async def test_a_state_beyond_one_message_is_refused_and_nothing_written(tmp_path: Path) -> None:
    """Without: it is written, its answer and every later read fail, and nothing heals it."""
    store = await open_store(tmp_path / "s.db")
    container = ModelONEXContainer()
    container.register(Store, store)
    hoarder = Hoarder(container)
    await hoarder.execute_reduction(keep("a1", MESSAGE_BYTES // 2))
    for _ in range(2):
        with pytest.raises(ResourceExhaustedError, match=r"state of k has \d+, .* several keys"):
            await hoarder.execute_reduction(keep("a2", MESSAGE_BYTES // 2))
    assert (await store.get_state("reducer/hoarder/k")).version == 1
    assert await store.find_action("reducer/hoarder", "a2") is None
    assert await store.list_intents(IntentState.PENDING, 0, 10) == []
    again = await hoarder.execute_reduction(keep("a2", 10))
    assert again.state_metadata.version == 2
    await store.close()


@pytest.mark.parametrize("limit", [100_000, 2 * MESSAGE_BYTES])
async def test_the_limit_is_that_of_the_settings(limit: int) -> None:
    """Without: what a smaller limit lets nobody read is written, and a larger one has no use."""
    settings = Settings(limits=LimitSettings(message_bytes=limit))
    async with LocalMesh([Hoarder], settings=settings) as mesh:
        reducer = mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
        for number in (1, 2):
            done = await reducer.ExecuteReduction(keep(str(uuid.UUID(int=number)), limit // 3))
            assert done.state_metadata.version == number
        with pytest.raises(ResourceExhaustedError, match=rf"at most {limit} are kept"):
            await reducer.ExecuteReduction(keep(str(uuid.UUID(int=3)), limit // 2))
        found = await reducer.GetState(reducer_pb2.GetStateRequest(state_key="k"))
        assert found.version == 2
