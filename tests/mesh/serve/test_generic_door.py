"""Generated nodes through the generic services: a graph takes an order through the sample mesh."""

import tomllib
from pathlib import Path

import msgspec
import pytest

from onex.v1 import (
    compute_pb2,
    effect_pb2,
    operation_pb2,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
    reducer_pb2,
)
from onex_grpc.contract import data
from onex_grpc.serve import Settings
from onex_grpc.testing.mesh import LocalMesh
from orders.v1 import desk_pb2, fulfilment_pb2, orders_pb2
from servers.compute import OrderPricing
from servers.effect import OrderDesk
from servers.layout import settings_text
from servers.mesh import SCHEMA
from servers.orchestrator import OrderFulfilment
from servers.reducer import Orders
from servers.supervisor import MeshLayout

Step = orchestrator_pb2.WorkflowStep
ORDER_ID = "steps.price.output.order.line.order_id"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "orders.csv").write_text(
        "order_id,customer_id,order_date,quantity,amount_usd\nCD7,0007,1997-01-01,2,28.50\n"
    )
    layout = MeshLayout(tmp_path, tmp_path, (1, 2, 3, 4))
    return msgspec.convert(tomllib.loads(settings_text(layout, str(SCHEMA))), Settings)


def bind(field: str, expression: str) -> orchestrator_pb2.Binding:
    return orchestrator_pb2.Binding(field=field, expression=expression)


def read() -> Step:
    request = data.pack(desk_pb2.ReadLineRequest(file="orders.csv", line=2))
    operation = operation_pb2.EffectOperation(custom=request.message)
    effect = effect_pb2.ModelContractEffect(
        io_operation_config=effect_pb2.IoOperationConfig(operation=operation)
    )
    return Step(step_id="read", target_node="effect", effect=effect)


def calculate(step_id: str, rpc: str, request: str) -> Step:
    config = compute_pb2.AlgorithmConfig(algorithm_type=f"orders.v1.PricingService/{rpc}")
    return Step(
        step_id=step_id,
        target_node="compute",
        compute=compute_pb2.ModelContractCompute(algorithm_config=config),
        bindings=[bind("input_data", request)],
    )


def act(step_id: str, rpc: str, request: str) -> Step:
    contract = reducer_pb2.ModelContractReducer(input_data=reducer_pb2.ReducerInput(action=rpc))
    return Step(
        step_id=step_id,
        target_node="reducer",
        reducer=contract,
        bindings=[
            bind("reduction_config.state_key", ORDER_ID),
            bind("input_data.payload", request),
        ],
    )


def graph() -> orchestrator_pb2.ModelContractOrchestrator:
    steps = [
        read(),
        calculate("parse", "ParseLine", "orders.v1.ParseLineRequest{text: steps.read.output.text}"),
        calculate(
            "price", "PriceOrder", "orders.v1.PriceOrderRequest{line: steps.parse.output.line}"
        ),
        act(
            "place",
            "PlaceOrder",
            f"orders.v1.PlaceOrderRequest{{order_id: {ORDER_ID}, order: steps.price.output.order}}",
        ),
        act("pay", "ConfirmPayment", f"orders.v1.ConfirmPaymentRequest{{order_id: {ORDER_ID}}}"),
        act("ship", "ShipOrder", f"orders.v1.ShipOrderRequest{{order_id: {ORDER_ID}}}"),
    ]
    return orchestrator_pb2.ModelContractOrchestrator(
        workflow_id="graph-7",
        workflow_config=orchestrator_pb2.WorkflowConfig(
            coordination_type=orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL, steps=steps
        ),
    )


async def test_a_graph_of_generic_steps_takes_an_order_through_generated_nodes(
    settings: Settings, tmp_path: Path
) -> None:
    nodes = [OrderFulfilment, Orders, OrderPricing, OrderDesk]
    async with LocalMesh(nodes, settings=settings, state=tmp_path / "state") as mesh:
        stub = mesh.stub(orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator")
        output = await stub.ExecuteOrchestration(graph(), timeout=20)
    shipped = data.unpack_as(output.orchestration_result.step_results[-1].output, orders_pb2.Order)
    assert shipped.status == orders_pb2.ORDER_STATUS_SHIPPED
    assert shipped.details.amount_cents == 2850


async def test_the_generic_service_of_the_orchestrator_runs_the_rpc_of_a_message(
    settings: Settings, tmp_path: Path
) -> None:
    nodes = [OrderFulfilment, Orders, OrderPricing, OrderDesk]
    request = fulfilment_pb2.FulfilOrderRequest(workflow_id="w-7", file="orders.csv", line=2)
    contract = orchestrator_pb2.ModelContractOrchestrator(
        workflow_id="w-7", initial_state=data.pack(request)
    )
    async with LocalMesh(nodes, settings=settings, state=tmp_path / "state") as mesh:
        stub = mesh.stub(orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator")
        output = await stub.ExecuteOrchestration(contract, timeout=20)
    [response] = output.orchestration_result.responses
    fulfilled = data.unpack_as(response, fulfilment_pb2.FulfilOrderResponse)
    assert fulfilled.order.status == orders_pb2.ORDER_STATUS_SHIPPED
