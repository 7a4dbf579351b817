"""Workflows that are code: what is a step, what a crash leaves, and what a repeat gets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from onex.v1 import (
    orchestrator_pb2,
)
from onex_grpc.contract import data
from onex_grpc.errors import (
    AlgorithmNotFoundError,
    AlreadyExistsError,
    ContractValidationError,
    GuardRejectedError,
    NodeUnavailableError,
    OnexError,
    OutcomeUnknownError,
    WorkflowExecutionError,
)
from tests.unit.orchestration.callees import (
    Callees,
    Contract,
    answers,
    asked,
    restarted,
    run,
    state_of,
)

if TYPE_CHECKING:
    from onex_grpc.workflow.calls import StepCalls
    from tests.unit.orchestration.callees import Successor
    from tests.unit.orchestration.conftest import House


@pytest.fixture
def node(house: House) -> Callees:
    return Callees(house)


async def test_a_handler_is_found_by_the_type_of_its_request(
    house: House, node: Callees, successor: Successor
) -> None:
    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        computed = await node.compute(calls, request.value)
        await node.effect(calls, "mail")
        count = await node.reduce(calls, "k")
        return StringValue(value=f"{computed} {count}")

    async with restarted(house, handler, successor) as next_house:
        output = await run(next_house, asked("price"))
        again = await run(next_house, asked("price"))
        with pytest.raises(AlreadyExistsError, match="workflow w was begun with another content"):
            await run(next_house, asked("other"))
        state = await state_of(next_house)
    assert answers(output) == ["price! 1"]
    assert again == output
    assert output.execution_metadata.total_steps == 3
    assert output.execution_metadata.success_rate == 1.0
    assert output.correlation_id == asked().correlation_id
    results = output.orchestration_result.step_results
    assert [r.step_id.partition("#")[0].rpartition("/")[2] for r in results] == [
        "ExecuteCompute",
        "ExecuteEffect",
        "ExecuteReduction",
    ]
    assert list(state.steps) == list(results)
    assert list(state.responses) == list(output.orchestration_result.responses)
    assert house.script.calls == {"price": 1, "mail": 1}


async def test_what_no_handler_takes_is_refused_with_what_there_is(
    house: House, successor: Successor
) -> None:
    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        return request

    with pytest.raises(ContractValidationError, match="runs only graphs"):
        await run(house, asked())
    async with restarted(house, handler, successor) as next_house:
        other = Contract(workflow_id="x", initial_state=data.pack(Int64Value(value=1)))
        with pytest.raises(ContractValidationError, match=r"Int64Value; .*protobuf.StringValue"):
            await run(next_house, other)
        with pytest.raises(ContractValidationError, match="workflow_config"):
            await run(next_house, Contract(workflow_id="x", initial_state=data.pack("text")))
        skipping = asked()
        skipping.conflict_resolution.continue_on_error = True
        with pytest.raises(ContractValidationError, match="continue_on_error"):
            await run(next_house, skipping)


async def test_finished_steps_are_not_repeated(
    house: House, node: Callees, successor: Successor
) -> None:
    seen = []

    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        await node.effect(calls, "first")
        seen.append((calls.workflow.started_at, calls.workflow.new_id("a")))
        count = await node.reduce(calls, "k")
        await node.effect(calls, "second")
        await node.effect(calls, "first")
        return StringValue(value=str(count))

    gate = house.script.gate("second")
    async with restarted(house, handler, successor) as one:
        waiting = asyncio.create_task(run(one, asked()))
        await house.script.entered["second"].wait()
        before = house.script.seen["first"]
        await one.node.stop()
        with pytest.raises(NodeUnavailableError):
            await waiting
    gate.set()
    async with restarted(house, handler, successor) as two:
        output = await run(two, asked())
    assert answers(output) == ["1"]
    # `first` twice: equal calls are different steps, each done once.
    assert house.script.calls == {"first": 2, "second": 2}
    keys = [call.action_id for call in (before, house.script.seen["first"])]
    assert keys[0] != keys[1]
    assert seen[0] == seen[1]


async def test_results_come_again_in_the_order_in_which_they_were_recorded(
    house: House, node: Callees, successor: Successor
) -> None:
    async def named(calls: StepCalls, name: str) -> str:
        await node.effect(calls, name)
        return name

    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        racing = [asyncio.create_task(named(calls, name)) for name in ("a", "b", "c")]
        order = [await each for each in asyncio.as_completed(racing)]
        await node.effect(calls, "after " + order[0])
        return StringValue(value="".join(order))

    for name in ("a", "b", "c", "after c"):
        house.script.gate(name)
    async with restarted(house, handler, successor) as one:
        waiting = asyncio.create_task(run(one, asked()))
        for name in ("c", "a", "b"):
            await house.script.entered[name].wait()
            house.script.gates[name].set()
            async with asyncio.timeout(5):
                while len((await state_of(one)).steps) < {"c": 1, "a": 2, "b": 3}[name]:
                    pass
        await house.script.entered["after c"].wait()
        await one.node.stop()
        with pytest.raises(NodeUnavailableError):
            await waiting
    house.script.gates["after c"].set()
    async with restarted(house, handler, successor) as two:
        assert answers(await run(two, asked())) == ["cab"]
    assert house.script.calls["after c"] == 2
    assert {house.script.calls[name] for name in "abc"} == {1}


async def test_a_failure_is_met_again_as_the_same_class(
    house: House, node: Callees, successor: Successor
) -> None:
    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        try:
            await node.reduce(calls, "k", "REFUSE")
        except GuardRejectedError as error:
            await node.effect(calls, "compensate")
            await node.effect(calls, "last")
            return StringValue(value=f"{error.message} {error.node}")
        raise AssertionError("not reached")

    gate = house.script.gate("last")
    async with restarted(house, handler, successor) as one:
        waiting = asyncio.create_task(run(one, asked()))
        await house.script.entered["last"].wait()
        await one.node.stop()
        with pytest.raises(NodeUnavailableError):
            await waiting
    gate.set()
    async with restarted(house, handler, successor) as two:
        output = await run(two, asked())
    assert answers(output) == ["never callee/main"]
    statuses = [r.status for r in output.orchestration_result.step_results]
    assert statuses[0] == orchestrator_pb2.STEP_STATUS_FAILED
    assert output.execution_metadata.success_rate == pytest.approx(2 / 3)
    assert house.script.calls["compensate"] == 1


async def test_unavailable_nodes_are_waited_for_unless_the_contract_says_otherwise(
    house: House, node: Callees, successor: Successor
) -> None:
    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        return StringValue(value=await node.compute(calls, request.value))

    async with restarted(house, handler, successor) as one:
        house.script.errors["a"] = [NodeUnavailableError("away")]
        assert answers(await run(one, asked("a"))) == ["a!"]
        house.script.errors["b"] = [NodeUnavailableError("away")]
        contract = asked("b", "x")
        contract.conflict_resolution.retry_enabled = False
        with pytest.raises(NodeUnavailableError):
            await run(one, contract)
        house.script.errors["c"] = [OutcomeUnknownError("who knows")]
        with pytest.raises(OutcomeUnknownError):
            await run(one, asked("c", "y"))


async def test_what_a_handler_raises_is_the_failure_of_its_workflow(
    house: House,
    node: Callees,
    successor: Successor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        if request.value == "known":
            raise AlgorithmNotFoundError("mine")
        if request.value == "none":
            return None  # type: ignore[return-value]
        if request.value == "self":
            raise asyncio.CancelledError
        raise ValueError("a secret")

    async with restarted(house, handler, successor) as one:
        for _ in range(2):
            with pytest.raises(AlgorithmNotFoundError, match="mine"):
                await run(one, asked("known"))
        for text in ("none", "self", "unknown"):
            with pytest.raises(OnexError, match="failed unexpectedly") as raised:
                await run(one, asked(text, text))
            assert type(raised.value) is OnexError
            assert "secret" not in raised.value.message
    assert "a secret" in caplog.text


async def test_a_handler_that_changed_is_reported(
    house: House, node: Callees, successor: Successor
) -> None:
    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        await node.effect(calls, "old")
        await node.effect(calls, "last")
        return request

    async def changed(request: StringValue, calls: StepCalls) -> StringValue:
        await node.effect(calls, "last")
        return request

    gate = house.script.gate("last")
    async with restarted(house, handler, successor) as one:
        waiting = asyncio.create_task(run(one, asked()))
        await house.script.entered["last"].wait()
        await one.node.stop()
        with pytest.raises(NodeUnavailableError):
            await waiting
    gate.set()
    async with restarted(house, changed, successor) as two:
        with pytest.raises(WorkflowExecutionError, match="ExecuteEffect#") as raised:
            await run(two, asked())
    assert "must be deterministic" in raised.value.message


async def test_a_call_that_the_handler_gives_up_is_given_up_again(
    house: House, node: Callees, successor: Successor
) -> None:
    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        try:
            async with asyncio.timeout(0.05):
                await node.compute(calls, "slow")
        except TimeoutError:
            await node.effect(calls, "last")
            return StringValue(value="without")
        return StringValue(value="with")

    house.script.gate("slow")
    gate = house.script.gate("last")
    async with restarted(house, handler, successor) as one:
        waiting = asyncio.create_task(run(one, asked()))
        await house.script.entered["last"].wait()
        await one.node.stop()
        with pytest.raises(NodeUnavailableError):
            await waiting
    house.script.gates["slow"].set()
    gate.set()
    async with restarted(house, handler, successor) as two:
        output = await run(two, asked())
    assert answers(output) == ["without"]
    assert house.script.calls["slow"] == 1
    given_up = output.orchestration_result.step_results[0]
    assert given_up.status == orchestrator_pb2.STEP_STATUS_SKIPPED


async def test_what_ends_a_group_of_tasks_is_the_failure(
    house: House, node: Callees, successor: Successor
) -> None:
    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        async with asyncio.TaskGroup() as outer, asyncio.TaskGroup() as inner:
            inner.create_task(node.effect(calls, "refused"))
            outer.create_task(node.compute(calls, "other"))
        return request

    house.script.errors["refused"] = [GuardRejectedError("no"), GuardRejectedError("no")]
    async with restarted(house, handler, successor) as next_house:
        with pytest.raises(GuardRejectedError, match="no"):
            await run(next_house, asked())


async def test_a_group_with_a_fault_of_another_kind_is_unexplained(
    house: House, node: Callees, successor: Successor
) -> None:
    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        errors = [GuardRejectedError("no"), KeyError("a fault of the handler's own")]
        raise ExceptionGroup("both", errors)

    async with restarted(house, handler, successor) as next_house:
        with pytest.raises(OnexError, match="failed unexpectedly"):
            await run(next_house, asked())
