"""The nodes of the house as handlers call them, each call a step; and the workflows of handlers."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, TypeAlias

from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from onex.v1 import (
    action_pb2,
    compute_pb2,
    compute_pb2_grpc,
    effect_pb2,
    effect_pb2_grpc,
    orchestrator_pb2,
    reducer_pb2,
    reducer_pb2_grpc,
)
from onex_grpc.contract import data
from onex_grpc.workflow.calls import StepCall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from onex.v1 import lease_pb2
    from onex_grpc.workflow.calls import StepCalls
    from tests.unit.orchestration.conftest import House


Contract = orchestrator_pb2.ModelContractOrchestrator
Output = orchestrator_pb2.ModelOrchestratorOutput
Successor: TypeAlias = "Callable[[], AbstractAsyncContextManager[House]]"
Handler: TypeAlias = (
    "Callable[[StringValue, StepCalls], Awaitable[StringValue] | AsyncIterator[StringValue]]"
)


class Callees:
    """Calls the nodes of a house."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def compute(self, calls: StepCalls, name: str) -> str:
        stub = self._house.mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute/main")
        request = compute_pb2.ModelContractCompute(correlation_id=calls.workflow.correlation_id)
        request.algorithm_config.algorithm_type = name
        request.input_data.value.string_value = f"{name}!"

        async def send() -> compute_pb2.ModelComputeOutput:
            return await stub.ExecuteCompute(request)

        response = await calls.call(
            StepCall(
                rpc="onex.v1.ComputeNodeService/ExecuteCompute",
                target="compute/main",
                request=request,
                response=compute_pb2.ModelComputeOutput,
                send=send,
            )
        )
        return response.processed_data.value.string_value

    async def effect(self, calls: StepCalls, name: str) -> None:
        stub = self._house.mesh.stub(effect_pb2_grpc.EffectNodeServiceStub, "effect/main")
        request = effect_pb2.ModelContractEffect(correlation_id=calls.workflow.correlation_id)
        request.external_service_config.service_name = name
        request.io_operation_config.operation.file.path = "a.txt"
        request.io_operation_config.operation.file.read.SetInParent()

        async def send() -> effect_pb2.ModelEffectOutput:
            return await stub.ExecuteEffect(request)

        await calls.call(
            StepCall(
                rpc="onex.v1.EffectNodeService/ExecuteEffect",
                target="effect/main",
                request=request,
                response=effect_pb2.ModelEffectOutput,
                send=send,
            )
        )

    async def reduce(self, calls: StepCalls, key: str, action: str = "COUNT") -> int:
        stub = self._house.mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer/main")
        request = reducer_pb2.ModelContractReducer()
        request.correlation_id = calls.workflow.correlation_id
        request.reduction_config.state_key = key
        request.input_data.action = action
        request.action_id = calls.workflow.new_id(f"{key} {action}")

        async def send() -> reducer_pb2.ModelReducerOutput:
            return await stub.ExecuteReduction(request)

        response = await calls.call(
            StepCall(
                rpc="onex.v1.ReducerNodeService/ExecuteReduction",
                target="reducer/main",
                request=request,
                response=reducer_pb2.ModelReducerOutput,
                send=send,
            )
        )
        return data.unpack_as(response.aggregated_data, Int64Value).value


def asked(text: str = "go", workflow_id: str = "w") -> Contract:
    return Contract(
        correlation_id="0198c0de-0000-7000-8000-00000000000a",
        workflow_id=workflow_id,
        initial_state=data.pack(StringValue(value=text)),
    )


async def start_by_hand(house: House, lease: lease_pb2.Lease) -> None:
    """Start a workflow as the holder of its lease, without the engine: it is at epoch 1 then."""
    request = orchestrator_pb2.ExecuteActionRequest(
        workflow_id=lease.workflow_id, fence=lease.fence, lease_token=lease.token
    )
    one = request.action
    one.action_id, one.correlation_id = str(uuid.uuid4()), str(uuid.uuid4())
    one.action_type = action_pb2.ACTION_TYPE_START_WORKFLOW
    one.lease_id, one.epoch, one.target_node = lease.lease_id, 0, "orchestrator"
    one.issued_at.GetCurrentTime()
    one.command_payload.state.CopyFrom(data.pack("begun"))
    await house.orchestrator.ExecuteAction(request)


async def run(house: House, contract: Contract) -> Output:
    return await house.orchestrator.ExecuteOrchestration(contract)


def answers(output: Output) -> list[str]:
    responses = output.orchestration_result.responses
    return [data.unpack_as(response, StringValue).value for response in responses]


async def state_of(house: House) -> orchestrator_pb2.WorkflowState:
    request = orchestrator_pb2.GetWorkflowRequest(workflow_id="w")
    return (await house.workflows.GetWorkflow(request)).state


def restarted(
    house: House, handler: Handler, successor: Successor
) -> AbstractAsyncContextManager[House]:
    """The orchestrator once more, with this handler."""
    house.offered[StringValue] = handler
    return successor()
