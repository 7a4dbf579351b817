"""Workflows over a real store: what runs when, what is durable when, and what a repeat gets."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import pytest

from onex.v1 import common_pb2, lease_pb2, orchestrator_pb2
from onex_grpc.context import CallContext, enter_call
from onex_grpc.contract import data
from onex_grpc.errors import (
    AlgorithmNotFoundError,
    AlreadyExistsError,
    ContractValidationError,
    LeaseConflictError,
    NodeUnavailableError,
    OutcomeUnknownError,
    StoreError,
    TargetNotFoundError,
    WorkflowExecutionError,
    WorkflowNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from tests.unit.orchestration.conftest import House, SetClock

Contract = orchestrator_pb2.ModelContractOrchestrator
Step = orchestrator_pb2.WorkflowStep
SEQUENTIAL = orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
PARALLEL = orchestrator_pb2.WORKFLOW_COORDINATION_PARALLEL


def compute(step_id: str, *, after: Sequence[str] = (), bind: str = "") -> Step:
    step = Step(step_id=step_id, target_node="compute", depends_on=after)
    step.compute.algorithm_config.algorithm_type = step_id
    step.compute.input_data.value.string_value = step_id
    if bind:
        step.bindings.add(field="input_data", expression=bind)
    return step


def effect(step_id: str, *, after: Sequence[str] = ()) -> Step:
    step = Step(step_id=step_id, target_node="effect/main", depends_on=after)
    step.effect.external_service_config.service_name = step_id
    step.effect.io_operation_config.operation.file.path = "a.txt"
    step.effect.io_operation_config.operation.file.read.SetInParent()
    return step


def workflow(
    *steps: Step, coordination: orchestrator_pb2.WorkflowCoordination.ValueType = SEQUENTIAL
) -> Contract:
    return Contract(
        correlation_id=str(uuid.uuid4()),
        workflow_id=f"w-{uuid.uuid4()}",
        workflow_config=orchestrator_pb2.WorkflowConfig(
            coordination_type=coordination, steps=steps
        ),
        initial_state=data.pack({"who": "world"}),
    )


def retrying(contract: Contract, *conditions: str, times: int = 3) -> Contract:
    resolution = contract.conflict_resolution
    resolution.retry_enabled = True
    resolution.retry_conditions.extend(conditions)
    resolution.retry_config.max_retries = times
    resolution.retry_config.initial_backoff.FromMilliseconds(1)
    return contract


async def run(house: House, contract: Contract) -> orchestrator_pb2.ModelOrchestratorOutput:
    return await house.orchestrator.ExecuteOrchestration(contract)


async def state_of(house: House, contract: Contract) -> orchestrator_pb2.GetWorkflowResponse:
    request = orchestrator_pb2.GetWorkflowRequest(workflow_id=contract.workflow_id)
    return await house.workflows.GetWorkflow(request)


async def until_folded(house: House, contract: Contract) -> None:
    async with asyncio.timeout(5):
        while not (await state_of(house, contract)).state.steps:
            pass


async def test_pure_steps_cost_two_commits(house: House) -> None:
    contract = workflow(
        compute("a", bind="input.who"),
        compute("b", bind="'hello ' + steps.a.output"),
        compute("c", bind="steps.b.output"),
    )
    output = await run(house, contract)
    results = output.orchestration_result.step_results
    assert [data.unpack(r.output) for r in results] == ["world", "hello world", "hello world"]
    assert [r.step_id for r in results] == ["a", "b", "c"]
    assert output.orchestration_result.status == orchestrator_pb2.WORKFLOW_STATUS_COMPLETED
    assert output.correlation_id == contract.correlation_id
    assert output.workflow_id == contract.workflow_id
    assert output.epoch == 2
    assert output.execution_metadata.total_steps == 3
    assert output.execution_metadata.success_rate == 1.0
    assert output.execution_metadata.coordination_type == SEQUENTIAL
    assert output.execution_metadata.execution_time.ToNanoseconds() > 0
    lease = await house.leases.GetLease(lease_pb2.GetLeaseRequest(workflow_id=contract.workflow_id))
    assert lease.lease.remaining.ToNanoseconds() == 0
    assert lease.lease.holder == "orchestrator/main"


async def test_steps_are_called_under_the_lease_with_their_action(house: House) -> None:
    contract = workflow(effect("a"), compute("b"))
    await run(house, contract)
    seen = house.script.seen["a"], house.script.seen["b"]
    for call in seen:
        assert call.correlation_id == contract.correlation_id
        assert call.workflow_id == contract.workflow_id
        assert call.lease is not None
        assert call.epoch is not None
    assert seen[0].action_id != seen[1].action_id
    assert house.effect.keys == [seen[0].action_id]


async def test_an_effect_step_starts_when_earlier_results_are_durable(house: House) -> None:
    contract = workflow(compute("a"), compute("b"), effect("c"), compute("d"))
    gate = house.script.gate("c")
    running = asyncio.create_task(run(house, contract))
    await house.script.entered["c"].wait()
    stored = await state_of(house, contract)
    assert [s.step_id for s in stored.state.steps] == ["a", "b"]
    assert stored.epoch == 2
    gate.set()
    output = await running
    assert [s.step_id for s in (await state_of(house, contract)).state.steps] == list("abcd")
    assert output.epoch == (await state_of(house, contract)).epoch


async def test_results_of_compute_steps_may_lag_but_not_for_long(house: House) -> None:
    contract = workflow(compute("a"), compute("b"))
    gate = house.script.gate("b")
    running = asyncio.create_task(run(house, contract))
    await house.script.entered["b"].wait()
    assert not (await state_of(house, contract)).state.steps
    await until_folded(house, contract)
    gate.set()
    await running


async def test_parallel_steps_wait_only_for_their_own_dependencies(house: House) -> None:
    contract = workflow(
        compute("left"),
        compute("right"),
        compute("after_left", after=["left"], bind="steps.left.output"),
        compute("join", after=["after_left", "right"]),
        coordination=PARALLEL,
    )
    gate = house.script.gate("right")
    house.script.gate("after_left").set()
    running = asyncio.create_task(run(house, contract))
    await house.script.entered["right"].wait()
    await house.script.entered["after_left"].wait()
    assert house.script.calls["join"] == 0
    gate.set()
    output = await running
    assert house.script.calls["join"] == 1
    names = [r.step_id for r in output.orchestration_result.step_results]
    assert names == ["left", "right", "after_left", "join"]


async def test_a_parallel_result_is_folded_without_waiting_for_siblings(house: House) -> None:
    contract = workflow(effect("fast"), effect("slow"), coordination=PARALLEL)
    gate = house.script.gate("slow")
    running = asyncio.create_task(run(house, contract))
    await house.script.entered["slow"].wait()
    await until_folded(house, contract)
    assert not running.done()
    gate.set()
    await running


async def test_a_repeat_gets_the_recorded_output(house: House) -> None:
    contract = workflow(compute("a"), compute("b"))
    first = await run(house, contract)
    contract.correlation_id = str(uuid.uuid4())
    again = await run(house, contract)
    assert again == first
    assert house.script.calls["a"] == 1


async def test_another_content_under_the_same_id_is_refused(house: House) -> None:
    contract = workflow(compute("a"))
    await run(house, contract)
    contract.initial_state.value.struct_value["who"] = "me"
    with pytest.raises(AlreadyExistsError):
        await run(house, contract)


async def test_who_asks_while_it_runs_joins(house: House) -> None:
    contract = workflow(compute("a"))
    gate = house.script.gate("a")
    first = asyncio.create_task(run(house, contract))
    await house.script.entered["a"].wait()
    second = asyncio.create_task(run(house, contract))
    other = Contract()
    other.CopyFrom(contract)
    other.initial_state.Clear()
    with pytest.raises(AlreadyExistsError):
        await run(house, other)
    gate.set()
    assert await first == await second
    assert house.script.calls["a"] == 1


async def test_a_caller_who_gives_up_does_not_stop_the_workflow(house: House) -> None:
    contract = workflow(compute("a"), effect("b"))
    gate = house.script.gate("a")
    caller = asyncio.create_task(run(house, contract))
    await house.script.entered["a"].wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    gate.set()
    output = await run(house, contract)
    assert output.orchestration_result.status == orchestrator_pb2.WORKFLOW_STATUS_COMPLETED
    assert house.script.calls == {"a": 1, "b": 1}


async def test_a_failed_step_aborts_and_a_repeat_gets_the_same_error(house: House) -> None:
    contract = workflow(compute("a"), compute("b"), compute("c"))
    house.script.errors["b"] = [AlgorithmNotFoundError("there is no b")]
    for _ in range(2):
        with pytest.raises(WorkflowExecutionError) as failure:
            await run(house, contract)
        assert isinstance(failure.value.causes[0], AlgorithmNotFoundError)
        assert failure.value.status == AlgorithmNotFoundError.default_status
        assert failure.value.context["step_id"] == "b"
    assert house.script.calls == {"a": 1, "b": 1}
    stored = await state_of(house, contract)
    assert stored.state.status == orchestrator_pb2.WORKFLOW_STATUS_FAILED
    assert [s.status for s in stored.state.steps] == [
        orchestrator_pb2.STEP_STATUS_COMPLETED,
        orchestrator_pb2.STEP_STATUS_FAILED,
    ]


@pytest.mark.parametrize("condition", ["NODE_UNAVAILABLE", "UNAVAILABLE"])
async def test_a_step_is_retried_by_reason_or_status(house: House, condition: str) -> None:
    contract = retrying(workflow(compute("a")), condition)
    house.script.errors["a"] = [NodeUnavailableError("away"), NodeUnavailableError("away")]
    output = await run(house, contract)
    assert output.orchestration_result.step_results[0].attempts == 3


async def test_a_step_is_not_retried_on_other_reasons_or_beyond_its_retries(house: House) -> None:
    contract = retrying(workflow(compute("a")), "EPOCH_MISMATCH")
    house.script.errors["a"] = [AlgorithmNotFoundError("there is no a")]
    with pytest.raises(WorkflowExecutionError):
        await run(house, contract)
    contract = retrying(workflow(compute("a")), "UNAVAILABLE", times=1)
    house.script.errors["a"] = [NodeUnavailableError("away")] * 2
    with pytest.raises(WorkflowExecutionError):
        await run(house, contract)
    assert house.script.calls["a"] == 3


async def test_an_unknown_outcome_is_never_retried(house: House) -> None:
    contract = retrying(workflow(effect("a")), "UNKNOWN", "OUTCOME_UNKNOWN")
    house.script.errors["a"] = [OutcomeUnknownError("who knows")]
    with pytest.raises(WorkflowExecutionError):
        await run(house, contract)
    assert house.script.calls["a"] == 1


@pytest.mark.parametrize("coordination", [SEQUENTIAL, PARALLEL])
async def test_a_skipped_step_takes_along_only_those_that_need_it(
    house: House, coordination: orchestrator_pb2.WorkflowCoordination.ValueType
) -> None:
    contract = workflow(
        compute("a"),
        compute("needs_a", after=["a"]),
        compute("reads_a", after=["needs_a"], bind="steps.a.output"),
        compute("free"),
        coordination=coordination,
    )
    contract.conflict_resolution.continue_on_error = True
    house.script.errors["a"] = [AlgorithmNotFoundError("there is no a")]
    output = await run(house, contract)
    completed, skipped = (
        orchestrator_pb2.STEP_STATUS_COMPLETED,
        orchestrator_pb2.STEP_STATUS_SKIPPED,
    )
    results = output.orchestration_result.step_results
    assert [r.status for r in results] == [skipped, skipped, skipped, completed]
    assert [r.error.reason for r in results[:2]] == [
        "ALGORITHM_NOT_FOUND",
        "DEPENDENCY_UNAVAILABLE",
    ]
    assert output.execution_metadata.success_rate == 0.25
    assert house.script.calls == {"a": 1, "free": 1}


async def test_a_failure_lets_running_effects_finish_and_stops_computing(house: House) -> None:
    contract = workflow(effect("slow"), compute("pure"), compute("bad"), coordination=PARALLEL)
    slow, _ = house.script.gate("slow"), house.script.gate("pure")
    bad = house.script.gate("bad")
    house.script.errors["bad"] = [AlgorithmNotFoundError("there is no bad")]
    running = asyncio.create_task(run(house, contract))
    for name in ("slow", "pure", "bad"):
        await house.script.entered[name].wait()
    bad.set()
    slow.set()
    with pytest.raises(WorkflowExecutionError):
        await running
    steps = {s.step_id: s.status for s in (await state_of(house, contract)).state.steps}
    assert steps == {
        "slow": orchestrator_pb2.STEP_STATUS_COMPLETED,
        "bad": orchestrator_pb2.STEP_STATUS_FAILED,
    }


async def test_a_binding_without_a_value_fails_its_step(house: House) -> None:
    contract = workflow(compute("a", bind="input.nobody"))
    with pytest.raises(WorkflowExecutionError) as failure:
        await run(house, contract)
    assert isinstance(failure.value.causes[0], ContractValidationError)
    assert "nobody" in failure.value.message


async def test_a_step_that_takes_too_long_fails(house: House) -> None:
    step = compute("a")
    step.timeout.FromMilliseconds(50)
    house.script.gate("a")
    with pytest.raises(WorkflowExecutionError) as failure:
        await run(house, workflow(step))
    assert failure.value.causes[0].reason == "DEADLINE_EXCEEDED"


async def test_nothing_is_written_for_an_unknown_target(house: House) -> None:
    step = compute("a")
    step.target_node = "compute/other"
    contract = workflow(step)
    with pytest.raises(TargetNotFoundError):
        await run(house, contract)
    with pytest.raises(WorkflowNotFoundError):
        await state_of(house, contract)


async def acquire(house: House, contract: Contract, holder: str = "other") -> lease_pb2.Lease:
    request = lease_pb2.AcquireLeaseRequest(
        workflow_id=contract.workflow_id, holder=holder, request_id=str(uuid.uuid4())
    )
    return (await house.leases.AcquireLease(request)).lease


async def test_a_workflow_that_another_one_holds_is_refused(house: House) -> None:
    contract = workflow(compute("a"))
    await acquire(house, contract)
    with pytest.raises(LeaseConflictError) as conflict:
        await run(house, contract)
    assert conflict.value.retry_after is not None
    assert house.script.calls["a"] == 0


async def test_a_lost_lease_stops_the_work(house: House, clock: SetClock) -> None:
    contract = workflow(compute("a"), effect("b"))
    gate = house.script.gate("a")
    running = asyncio.create_task(run(house, contract))
    await house.script.entered["a"].wait()
    clock.advance(60)
    await acquire(house, contract)
    gate.set()
    with pytest.raises(LeaseConflictError):
        await running
    assert house.script.calls["b"] == 0


async def test_an_expired_lease_that_nobody_took_is_taken_up_again(
    house: House, clock: SetClock
) -> None:
    contract = workflow(compute("a"), effect("b"))
    gate = house.script.gate("a")
    running = asyncio.create_task(run(house, contract))
    await house.script.entered["a"].wait()
    clock.advance(60)
    gate.set()
    output = await running
    assert output.orchestration_result.status == orchestrator_pb2.WORKFLOW_STATUS_COMPLETED
    assert house.script.calls["b"] == 1


async def test_the_next_process_goes_on_where_the_last_one_stopped(
    house: House, successor: Callable[[], AbstractAsyncContextManager[House]]
) -> None:
    contract = workflow(effect("a"), effect("b"), compute("c", bind="input.who"))
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    enter_call(CallContext(contract.correlation_id, traceparent=trace))
    gate = house.script.gate("b")
    waiting = asyncio.create_task(run(house, contract))
    await house.script.entered["b"].wait()
    before = house.script.seen["b"].lease
    enter_call(CallContext(contract.correlation_id))
    async with successor() as house_after:
        with pytest.raises(NodeUnavailableError):
            await waiting
        gate.set()
        output = await run(house_after, contract)
    assert [r.step_id for r in output.orchestration_result.step_results] == ["a", "b", "c"]
    assert data.unpack(output.orchestration_result.step_results[2].output) == "world"
    assert house.script.calls == {"a": 1, "b": 2, "c": 1}
    assert house.effect.keys[1] == house.effect.keys[2]
    assert house.script.seen["c"].traceparent.split("-")[1] == trace.split("-")[1]
    after = house.script.seen["b"].lease
    assert before is not None
    assert after is not None
    assert after.fence > before.fence
    assert output.correlation_id == contract.correlation_id


async def test_the_output_names_the_lease_that_ended_the_workflow(
    house: House, successor: Callable[[], AbstractAsyncContextManager[House]]
) -> None:
    contract = workflow(compute("a"))
    output = await run(house, contract)
    # As somebody does who came to go on with it and found that it has ended.
    await acquire(house, contract)
    async with successor() as house_after:
        assert await run(house_after, contract) == output


async def test_a_resumed_workflow_that_fails_is_logged_under_its_correlation_id(
    house: House,
    successor: Callable[[], AbstractAsyncContextManager[House]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    contract = workflow(effect("a"), effect("b"))
    gate = house.script.gate("b")
    waiting = asyncio.create_task(run(house, contract))
    await house.script.entered["b"].wait()
    async with successor() as house_after:
        with pytest.raises(NodeUnavailableError):
            await waiting
        caplog.clear()
        house.script.errors["b"] = [StoreError("broken") for _ in range(2)]
        gate.set()
        with pytest.raises(WorkflowExecutionError):
            await run(house_after, contract)
    (line,) = (r for r in caplog.records if r.getMessage().startswith("workflow w-"))
    assert "broken" in line.getMessage()
    assert vars(line)["correlation_id"] == contract.correlation_id


async def test_an_unknown_workflow_is_not_found(house: House) -> None:
    with pytest.raises(WorkflowNotFoundError):
        await state_of(house, Contract(workflow_id="nobody"))


async def test_data_of_the_input_is_kept_in_the_state(house: House) -> None:
    contract = workflow(compute("a"))
    await run(house, contract)
    stored = await state_of(house, contract)
    assert stored.state.data == common_pb2.Data(value=contract.initial_state.value)
