"""The workflow of one order: read its line, parse, price, then place, pay and ship it."""

from __future__ import annotations

from onex.v1 import (
    common_pb2,
    compute_pb2,
    effect_pb2,
    operation_pb2,
    orchestrator_pb2,
    reducer_pb2,
)
from onex_grpc.contract import data

EFFECT = "effect/orders"
COMPUTE = "compute/orders"
REDUCER = "reducer/orders"

ORDER_ID = "steps.price.output.line.order_id"


def order_workflow(
    workflow_id: str, correlation_id: str, file: str, line: int
) -> orchestrator_pb2.ModelContractOrchestrator:
    """The contract that takes one line of a file below the effect node's CSV folder through the
    mesh.

    A node that is being restarted makes a step wait, not fail; a step that fails for good aborts
    the workflow.
    """
    return orchestrator_pb2.ModelContractOrchestrator(
        correlation_id=correlation_id,
        workflow_id=workflow_id,
        initial_state=data.pack({"file": file, "line": line}),
        workflow_config=orchestrator_pb2.WorkflowConfig(
            coordination_type=orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL,
            steps=[
                _read_line(),
                _compute("parse", "orders.parse", "steps.read.output"),
                _compute("price", "orders.price", "steps.parse.output"),
                _apply("place", "PLACE_ORDER", payload="steps.price.output"),
                _apply("pay", "CONFIRM_PAYMENT"),
                _apply("ship", "SHIP_ORDER"),
            ],
        ),
        conflict_resolution=orchestrator_pb2.ConflictResolution(
            retry_enabled=True,
            retry_conditions=["UNAVAILABLE"],
            retry_config=common_pb2.RetryPolicy(max_retries=50),
        ),
    )


def _read_line() -> orchestrator_pb2.WorkflowStep:
    operation = operation_pb2.EffectOperation(
        file=operation_pb2.FileOperation(read=operation_pb2.FileRead())
    )
    return orchestrator_pb2.WorkflowStep(
        step_id="read",
        target_node=EFFECT,
        effect=effect_pb2.ModelContractEffect(
            external_service_config=effect_pb2.ExternalServiceConfig(service_name="order_files"),
            io_operation_config=effect_pb2.IoOperationConfig(operation=operation),
        ),
        bindings=[
            _bind("io_operation_config.operation.file.path", "input.file"),
            _bind("io_operation_config.operation.file.read.line", "input.line"),
        ],
    )


def _compute(step_id: str, algorithm: str, source: str) -> orchestrator_pb2.WorkflowStep:
    return orchestrator_pb2.WorkflowStep(
        step_id=step_id,
        target_node=COMPUTE,
        compute=compute_pb2.ModelContractCompute(
            algorithm_config=compute_pb2.AlgorithmConfig(algorithm_type=algorithm)
        ),
        bindings=[_bind("input_data", source)],
    )


def _apply(step_id: str, action: str, payload: str = "") -> orchestrator_pb2.WorkflowStep:
    bindings = [_bind("reduction_config.state_key", ORDER_ID)]
    if payload:
        bindings.append(_bind("input_data.payload", payload))
    return orchestrator_pb2.WorkflowStep(
        step_id=step_id,
        target_node=REDUCER,
        reducer=reducer_pb2.ModelContractReducer(
            input_data=reducer_pb2.ReducerInput(action=action)
        ),
        bindings=bindings,
    )


def _bind(field: str, expression: str) -> orchestrator_pb2.Binding:
    return orchestrator_pb2.Binding(field=field, expression=expression)
