"""What is durable when a step begins, and what a repeat of that which is not comes to."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, TypeAlias

import pytest
from google.protobuf.wrappers_pb2 import Int64Value

from onex.v1 import orchestrator_pb2, reducer_pb2, reducer_pb2_grpc
from onex_grpc.contract import data
from onex_grpc.errors import NodeUnavailableError
from onex_grpc.workflow import durability

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.unit.orchestration.conftest import House

Contract = orchestrator_pb2.ModelContractOrchestrator
Step = orchestrator_pb2.WorkflowStep
SEQUENTIAL = orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
PARALLEL = orchestrator_pb2.WORKFLOW_COORDINATION_PARALLEL
COORDINATIONS = pytest.mark.parametrize("order", [SEQUENTIAL, PARALLEL])
Order: TypeAlias = orchestrator_pb2.WorkflowCoordination.ValueType


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may lag, lags until something else writes it."""
    monkeypatch.setattr(durability, "_LAG", 3600.0)


def step(kind: str, step_id: str) -> Step:
    made = Step(step_id=step_id, target_node=kind)
    if kind == "compute":
        made.compute.algorithm_config.algorithm_type = step_id
        made.compute.input_data.value.string_value = step_id
    elif kind == "effect":
        made.effect.external_service_config.service_name = step_id
        made.effect.io_operation_config.operation.file.path = "a.txt"
        made.effect.io_operation_config.operation.file.read.SetInParent()
    else:
        made.reducer.reduction_config.state_key = "k"
        made.reducer.input_data.action = "COUNT"
    return made


def workflow(*kinds: str, order: Order = SEQUENTIAL) -> Contract:
    """Steps a, b, c, … of these kinds, each of which depends on the one before."""
    config = orchestrator_pb2.WorkflowConfig(coordination_type=order)
    for number, kind in enumerate(kinds):
        config.steps.append(step(kind, chr(ord("a") + number)))
        if number:
            config.steps[number].depends_on.append(config.steps[number - 1].step_id)
    return Contract(
        correlation_id=str(uuid.uuid4()), workflow_id=f"w-{uuid.uuid4()}", workflow_config=config
    )


async def run(house: House, contract: Contract) -> orchestrator_pb2.ModelOrchestratorOutput:
    return await house.orchestrator.ExecuteOrchestration(contract)


async def durable(house: House, contract: Contract) -> list[str]:
    """The ids of the steps whose results are durable."""
    request = orchestrator_pb2.GetWorkflowRequest(workflow_id=contract.workflow_id)
    return [s.step_id for s in (await house.workflows.GetWorkflow(request)).state.steps]


async def until_durable(house: House, contract: Contract, steps: list[str]) -> None:
    async with asyncio.timeout(5):
        while sorted(await durable(house, contract)) != steps:
            pass


async def counted(house: House) -> int:
    """How often the reducer has counted, which is also the version of its entity."""
    states = house.mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
    found = await states.GetState(reducer_pb2.GetStateRequest(state_key="k"))
    value = data.unpack_as(found.state, Int64Value).value
    assert value == found.version
    return value


@COORDINATIONS
@pytest.mark.usefixtures("patient")
async def test_reducer_steps_cost_two_commits(house: House, order: Order) -> None:
    output = await run(house, workflow("reducer", "reducer", "reducer", order=order))
    results = output.orchestration_result.step_results
    assert [data.unpack_as(r.output, Int64Value).value for r in results] == [1, 2, 3]
    assert output.epoch == 2


@COORDINATIONS
@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        # The last step is looked at while it runs.
        (["reducer", "reducer", "compute"], []),
        (["compute", "reducer", "compute"], ["a"]),
        (["effect", "reducer", "compute"], ["a"]),
        (["reducer", "compute", "reducer", "compute"], ["a", "b"]),
        (["compute", "reducer", "effect"], ["a", "b"]),
        (["reducer", "reducer", "effect"], ["a", "b"]),
    ],
)
async def test_what_is_durable_when_a_step_begins(
    house: House, kinds: list[str], expected: list[str], order: Order
) -> None:
    contract = workflow(*kinds, order=order)
    last = contract.workflow_config.steps[-1].step_id
    gate = house.script.gate(last)
    running = asyncio.create_task(run(house, contract))
    await house.script.entered[last].wait()
    assert await durable(house, contract) == expected
    gate.set()
    await running


@pytest.mark.usefixtures("patient")
async def test_a_refusal_is_durable_before_the_next_reducer_step(house: House) -> None:
    contract = workflow("reducer", "reducer", "compute")
    first, second = contract.workflow_config.steps[:2]
    first.reducer.input_data.action = "REFUSE"
    second.ClearField("depends_on")
    contract.conflict_resolution.continue_on_error = True
    gate = house.script.gate("c")
    running = asyncio.create_task(run(house, contract))
    await house.script.entered["c"].wait()
    assert await durable(house, contract) == ["a"]
    gate.set()
    await running


@COORDINATIONS
@pytest.mark.usefixtures("patient")
async def test_repeated_reducer_steps_come_to_the_same_and_count_once(
    house: House, successor: Callable[[], AbstractAsyncContextManager[House]], order: Order
) -> None:
    contract = workflow("reducer", "reducer", "compute", "reducer", order=order)
    gate = house.script.gate("c")
    waiting = asyncio.create_task(run(house, contract))
    await house.script.entered["c"].wait()
    assert await durable(house, contract) == []
    # Somebody else goes on with the entity before the steps are repeated.
    assert await counted(house) == 2
    await run(house, workflow("reducer"))
    async with successor() as house_after:
        with pytest.raises(NodeUnavailableError):
            await waiting
        gate.set()
        output = await run(house_after, contract)
        assert await counted(house_after) == 4
    results = output.orchestration_result.step_results
    outputs = [data.unpack_as(results[n].output, Int64Value).value for n in (0, 1, 3)]
    assert outputs == [1, 2, 4]


@COORDINATIONS
@pytest.mark.parametrize("kind", ["compute", "reducer"])
async def test_results_may_lag_but_not_for_long(house: House, kind: str, order: Order) -> None:
    contract = workflow(kind, kind, "compute", order=order)
    gate = house.script.gate("c")
    running = asyncio.create_task(run(house, contract))
    await house.script.entered["c"].wait()
    await until_durable(house, contract, ["a", "b"])
    gate.set()
    await running


@pytest.mark.parametrize("kind", ["compute", "effect", "reducer"])
async def test_no_result_waits_for_a_sibling_however_slow(house: House, kind: str) -> None:
    contract = workflow(*[kind] * 8, "compute", order=PARALLEL)
    for each in contract.workflow_config.steps:
        each.ClearField("depends_on")
    gate = house.script.gate("i")
    running = asyncio.create_task(run(house, contract))
    await house.script.entered["i"].wait()
    await until_durable(house, contract, list("abcdefgh"))
    assert not running.done()
    gate.set()
    await running
