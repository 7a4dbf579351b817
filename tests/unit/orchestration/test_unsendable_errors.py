"""Whatever a step or a handler fails with is the recorded end of its workflow; a repeat gets it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from onex.v1 import error_pb2, orchestrator_pb2
from onex_grpc.errors import OnexError, ResourceExhaustedError, WorkflowExecutionError
from onex_grpc.rpc.detail import MOST_BYTES, error_detail
from tests.mesh.rpc.test_errors import KINDS
from tests.unit.orchestration.callees import Callees, asked, restarted
from tests.unit.orchestration.callees import run as run_code
from tests.unit.orchestration.test_actions import DELEGATE, action, begin, send
from tests.unit.orchestration.test_engine import PARALLEL, compute, effect, run, workflow

if TYPE_CHECKING:
    from onex_grpc.workflow.calls import StepCalls
    from tests.unit.orchestration.callees import Successor
    from tests.unit.orchestration.conftest import House

OURS = [kind for kind, (make, _, _) in KINDS.items() if isinstance(make(), OnexError)]


def failure(kind: str) -> OnexError:
    error = KINDS[kind][0]()
    assert isinstance(error, OnexError)
    return error


FAILED = orchestrator_pb2.WORKFLOW_STATUS_FAILED


async def ended(house: House, workflow_id: str) -> error_pb2.ErrorDetail:
    """With what a workflow has failed."""
    request = orchestrator_pb2.GetWorkflowRequest(workflow_id=workflow_id)
    state = (await house.workflows.GetWorkflow(request)).state
    assert state.status == FAILED
    assert state.error.ByteSize() <= MOST_BYTES
    return state.error


@pytest.mark.parametrize("kind", OURS)
async def test_a_graph_fails_once_and_for_good(
    house: House, kind: str, successor: Successor
) -> None:
    _, status, text = KINDS[kind]
    house.script.errors["bad"] = [failure(kind)]
    contract = workflow(compute("first"), effect("bad"), compute("never"))
    with pytest.raises(WorkflowExecutionError) as raised:
        await run(house, contract)
    with pytest.raises(WorkflowExecutionError) as repeated:
        await run(house, contract)
    detail = await ended(house, contract.workflow_id)
    async with successor() as next_house:
        with pytest.raises(WorkflowExecutionError) as after:
            await run(next_house, contract)
    assert raised.value.status is status
    assert raised.value.causes[0].message.startswith(text[:100])
    assert detail.causes[0].message.startswith(text[:100])
    assert str(repeated.value) == str(after.value) == str(raised.value)
    assert house.script.calls == {"first": 1, "bad": 1}


async def test_failures_of_parallel_steps_are_all_recorded(house: House) -> None:
    steps = [compute(f"bad_{number}") for number in range(40)]
    for number, step in enumerate(steps):
        house.script.errors[step.step_id] = [failure(OURS[number % len(OURS)])]
    contract = workflow(*steps, coordination=PARALLEL)
    contract.conflict_resolution.continue_on_error = True
    output = await run(house, contract)
    results = output.orchestration_result.step_results
    assert [result.status for result in results] == [orchestrator_pb2.STEP_STATUS_SKIPPED] * 40
    assert all(0 < result.error.ByteSize() <= MOST_BYTES for result in results)


@pytest.mark.parametrize("kind", OURS)
async def test_a_handler_fails_once_and_for_good(
    house: House, kind: str, successor: Successor
) -> None:
    _, status, text = KINDS[kind]
    node = Callees(house)
    runs = []

    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        await node.effect(calls, "first")
        runs.append(calls.workflow.workflow_id)
        raise failure(kind)

    async with restarted(house, handler, successor) as next_house:
        with pytest.raises(OnexError) as raised:
            await run_code(next_house, asked())
        with pytest.raises(OnexError) as repeated:
            await run_code(next_house, asked())
        detail = await ended(next_house, "w")
    assert (raised.value.status, repeated.value.status) == (status, status)
    assert raised.value.message == repeated.value.message
    assert detail.message.startswith(text)
    assert detail.correlation_id == asked().correlation_id
    assert (len(runs), house.script.calls) == (1, {"first": 1})


@pytest.mark.parametrize("kind", OURS)
async def test_a_handler_meets_the_failure_of_its_step_again_after_a_crash(
    house: House, kind: str, successor: Successor
) -> None:
    node = Callees(house)
    house.script.errors["bad"] = [failure(kind)]
    met: list[error_pb2.ErrorDetail] = []

    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        try:
            await node.effect(calls, "bad")
        except OnexError as error:
            met.append(error_detail(error))
        await node.effect(calls, "held")
        return StringValue(value="done")

    house.script.gate("held")
    async with restarted(house, handler, successor) as first:
        running = asyncio.create_task(run_code(first, asked()))
        await house.script.entered["held"].wait()
    with pytest.raises(OnexError):
        await running
    house.script.gates["held"].set()
    async with successor() as second:
        await run_code(second, asked())
    assert len(met) == 2
    assert met[0].message == met[1].message
    assert (met[0].reason, met[0].status_code) == (met[1].reason, met[1].status_code)
    assert house.script.calls["bad"] == 1


@pytest.mark.parametrize("kind", OURS)
async def test_a_delegated_task_fails_once_and_for_good(house: House, kind: str) -> None:
    _, status, text = KINDS[kind]
    house.script.errors["task"] = [failure(kind), failure(kind)]
    request = action(await begin(house, "w"), DELEGATE)
    with pytest.raises(OnexError) as raised:
        await send(house, request)
    with pytest.raises(OnexError) as repeated:
        await send(house, request)
    assert raised.value.status is repeated.value.status is status
    assert raised.value.message == repeated.value.message
    assert raised.value.message.startswith(text[:100])


async def test_a_response_too_large_for_a_message_is_not_worked_for_again(
    house: House, successor: Successor
) -> None:
    node = Callees(house)

    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        await node.effect(calls, "once")
        return StringValue(value="x" * 5_000_000)

    async with restarted(house, handler, successor) as next_house:
        for _ in range(2):
            with pytest.raises(ResourceExhaustedError, match=r"limits\.message_bytes"):
                await run_code(next_house, asked())
    assert house.script.calls == {"once": 1}
