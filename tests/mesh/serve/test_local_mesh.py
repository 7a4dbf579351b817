"""The whole mesh in one process, on the sample's nodes."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from onex.v1 import reducer_pb2, reducer_pb2_grpc
from onex_grpc.contract import data
from onex_grpc.errors import ConfigurationError, TargetNotFoundError
from onex_grpc.event import EventLog
from onex_grpc.serve import Settings
from onex_grpc.testing.mesh import LocalMesh
from orders.v1 import orders_pb2
from orders.v1.fulfilment_onex import FulfilmentClient
from orders.v1.fulfilment_pb2 import FulfilOrderRequest, FulfilOrderResponse
from servers.compute import OrderPricing
from servers.effect import OrderDesk
from servers.layout import settings_text
from servers.mesh import SCHEMA
from servers.orchestrator import OrderFulfilment
from servers.reducer import Orders
from servers.supervisor import MeshLayout
from tests.store.server import PostgresServer

NODES = [OrderFulfilment, Orders, OrderPricing, OrderDesk]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "orders.csv").write_text(
        "order_id,customer_id,order_date,quantity,amount_usd\nCD7,0007,1997-01-01,2,28.50\n"
    )
    layout = MeshLayout(tmp_path, tmp_path, (1, 2, 3, 4))
    return msgspec.convert(tomllib.loads(settings_text(layout, str(SCHEMA))), Settings)


async def run_order(mesh: LocalMesh) -> FulfilOrderResponse:
    request = FulfilOrderRequest(workflow_id="order-7", file="orders.csv", line=2)
    return await FulfilmentClient(mesh.mesh).fulfil_order(request, timeout=20)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.stop()


@pytest.mark.parametrize("back_end", ["sqlite", "postgresql"])
async def test_order_goes_through_all_four_nodes(
    tmp_path: Path, settings: Settings, back_end: str, request: pytest.FixtureRequest
) -> None:
    if back_end == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        settings = msgspec.structs.replace(settings, store=server.address)
    async with LocalMesh(NODES, settings=settings, state=tmp_path / "state") as mesh:
        answer = await run_order(mesh)
        reducer = mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
        order = await reducer.GetState(reducer_pb2.GetStateRequest(state_key="CD7"))
        event = await anext(EventLog(mesh.mesh).follow("order-events"))
    # Over the same state, the workflow is known and not run again.
    async with LocalMesh(NODES, settings=settings, state=tmp_path / "state") as mesh:
        assert await run_order(mesh) == answer
        again = await mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer").GetState(
            reducer_pb2.GetStateRequest(state_key="CD7")
        )

    state = data.unpack_as(order.state, orders_pb2.Order)
    assert list((tmp_path / "state").glob("*.db")) == [] or back_end == "sqlite"
    assert state.status == orders_pb2.ORDER_STATUS_SHIPPED
    assert state.details.amount_cents == 2850
    assert answer.order == state
    assert event.topic == "order-events"
    assert again == order


def test_two_nodes_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="same kind and name"):
        LocalMesh([OrderPricing, OrderPricing])


async def test_nodes_and_targets_that_are_not_there_are_named() -> None:
    async with LocalMesh([OrderPricing]) as mesh:
        assert mesh.node(OrderPricing).name == "compute/orders"
        with pytest.raises(ConfigurationError, match="Orders"):
            mesh.node(Orders)
        with pytest.raises(TargetNotFoundError, match="compute/orders"):
            mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
