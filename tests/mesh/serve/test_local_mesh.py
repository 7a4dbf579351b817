"""The whole mesh in one process, on the sample's nodes."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from onex.v1 import orchestrator_pb2, orchestrator_pb2_grpc, reducer_pb2, reducer_pb2_grpc
from onex_grpc.contract import data
from onex_grpc.errors import ConfigurationError, TargetNotFoundError
from onex_grpc.event import EventLog
from onex_grpc.serve import Settings
from onex_grpc.testing.mesh import LocalMesh
from orders.v1 import orders_pb2
from servers.compute import OrderCompute
from servers.effect import OrderEffects
from servers.layout import settings_text
from servers.mesh import SCHEMA
from servers.orchestrator import OrderOrchestrator
from servers.reducer import OrderReducer
from servers.supervisor import MeshLayout
from servers.workflow import order_workflow
from tests.store.server import PostgresServer

NODES = [OrderOrchestrator, OrderReducer, OrderCompute, OrderEffects]
CORRELATION = "0b1f3f6e-96b1-4a9e-9a5c-0f6d7a1c2b3d"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "orders.csv").write_text(
        "order_id,customer_id,order_date,quantity,amount_usd\nCD7,0007,1997-01-01,2,28.50\n"
    )
    layout = MeshLayout(tmp_path, tmp_path, (1, 2, 3, 4))
    return msgspec.convert(tomllib.loads(settings_text(layout, str(SCHEMA))), Settings)


async def run_order(mesh: LocalMesh) -> orchestrator_pb2.ModelOrchestratorOutput:
    stub = mesh.stub(orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator")
    contract = order_workflow("order-7", CORRELATION, "orders.csv", 2)
    return await stub.ExecuteOrchestration(contract, timeout=20)


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
        await run_order(mesh)
        reducer = mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
        order = await reducer.GetState(reducer_pb2.GetStateRequest(state_key="CD7"))
        event = await anext(EventLog(mesh.mesh).follow("order-events"))
    # Over the same state, the workflow is known and not run again.
    async with LocalMesh(NODES, settings=settings, state=tmp_path / "state") as mesh:
        await run_order(mesh)
        again = await mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer").GetState(
            reducer_pb2.GetStateRequest(state_key="CD7")
        )

    state = data.unpack_as(order.state, orders_pb2.Order)
    assert list((tmp_path / "state").glob("*.db")) == [] or back_end == "sqlite"
    assert state.status == orders_pb2.ORDER_STATUS_SHIPPED
    assert state.details.amount_cents == 2850
    assert event.topic == "order-events"
    assert again == order


def test_two_nodes_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="same kind and name"):
        LocalMesh([OrderCompute, OrderCompute])


async def test_nodes_and_targets_that_are_not_there_are_named() -> None:
    async with LocalMesh([OrderCompute]) as mesh:
        assert mesh.node(OrderCompute).name == "compute/orders"
        with pytest.raises(ConfigurationError, match="OrderReducer"):
            mesh.node(OrderReducer)
        with pytest.raises(TargetNotFoundError, match="compute/orders"):
            mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
