"""Handlers whose term ends before they do, and handlers that answer more than once."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from onex.v1 import (
    action_pb2,
    orchestrator_pb2,
)
from onex_grpc.contract import data
from onex_grpc.errors import (
    AlgorithmNotFoundError,
    NodeUnavailableError,
    OnexError,
    StaleFenceError,
)
from onex_grpc.lease.token import sign_token
from onex_grpc.store.model import LeaseRequest
from onex_grpc.workflow import durability, imperative
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
    from collections.abc import AsyncIterator

    from onex_grpc.workflow.calls import StepCalls
    from tests.unit.orchestration.callees import Successor
    from tests.unit.orchestration.conftest import House


@pytest.fixture
def node(house: House) -> Callees:
    return Callees(house)


async def test_a_handler_that_goes_on_after_its_end_makes_no_more_calls(
    house: House, node: Callees, successor: Successor
) -> None:
    refused = asyncio.Event()

    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        try:
            await node.compute(calls, "first")
        except asyncio.CancelledError:
            # It must not go on, whatever it does with its cancellation.
            for _ in range(3):
                with pytest.raises(asyncio.CancelledError):
                    await node.effect(calls, "never")
            refused.set()
            raise
        return request

    house.script.gate("first")
    async with restarted(house, handler, successor) as one:
        waiting = asyncio.create_task(run(one, asked()))
        await house.script.entered["first"].wait()
        house.clock_us.advance(60)  # type: ignore[attr-defined]
        stolen = await one.store.acquire_lease(_by_another())
        async with asyncio.timeout(5):
            abort = action_pb2.ModelAction(
                action_id=str(uuid.uuid4()),
                action_type=action_pb2.ACTION_TYPE_ABORT_WORKFLOW,
                target_node="orchestrator",
                lease_id=stolen.lease_id,
            )
            abort.issued_at.GetCurrentTime()
            await one.orchestrator.ExecuteAction(
                orchestrator_pb2.ExecuteActionRequest(
                    workflow_id="w",
                    fence=stolen.fence,
                    lease_token=sign_token(one.key, stolen, time.time()),
                    action=abort,
                )
            )
            await refused.wait()
            output = await waiting
    assert output.orchestration_result.status == orchestrator_pb2.WORKFLOW_STATUS_CANCELLED
    assert "never" not in house.script.calls


def _by_another() -> LeaseRequest:
    return LeaseRequest("w", "someone else", 30_000_000, str(uuid.uuid4()), take_over_own=False)


async def test_a_task_delegated_by_another_holder_is_no_step_of_the_handler(
    house: House, node: Callees, successor: Successor
) -> None:
    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        await node.compute(calls, "first")
        await node.effect(calls, "second")
        await node.effect(calls, "third")
        return request

    for name in ("second", "third"):
        house.script.gate(name)
    async with restarted(house, handler, successor) as one:
        waiting = asyncio.create_task(run(one, asked()))
        await house.script.entered["second"].wait()
        claim = house.script.seen["second"].lease
        assert claim is not None
        action = action_pb2.ModelAction(
            action_id=str(uuid.uuid4()),
            action_type=action_pb2.ACTION_TYPE_DELEGATE_TASK,
            target_node="compute",
            lease_id=claim.lease_id,
        )
        action.issued_at.GetCurrentTime()
        action.command_payload.compute.algorithm_config.algorithm_type = "foreign"
        await one.orchestrator.ExecuteAction(
            orchestrator_pb2.ExecuteActionRequest(
                workflow_id="w", fence=claim.fence, lease_token=claim.token, action=action
            )
        )
        for name in ("second", "third"):
            house.script.gates[name].set()
        output = await waiting
        state = await state_of(one)
    assert answers(output) == ["go"]
    assert output.execution_metadata.total_steps == 3
    assert len(state.steps) == 4
    assert house.script.calls["first"] == 1


async def test_responses_leave_when_they_are_durable_and_come_again(
    house: House, node: Callees, successor: Successor
) -> None:
    async def handler(request: StringValue, calls: StepCalls) -> AsyncIterator[StringValue]:
        yield StringValue(value=await node.compute(calls, "a"))
        await node.effect(calls, "b")
        yield StringValue(value="b done")
        await node.effect(calls, "c")
        yield StringValue(value="c done")

    async def followed(house: House, count: int) -> list[str]:
        found: list[str] = []
        async for response in house.node.engine.follow(asked()):
            found.append(data.unpack_as(response, StringValue).value)
            if len(found) == count:
                break
        return found

    for name in ("b", "c"):
        house.script.gate(name)
    async with restarted(house, handler, successor) as one:
        assert await followed(one, 1) == ["a!"]
        assert [data.unpack_as(r, StringValue).value for r in (await state_of(one)).responses] == [
            "a!"
        ]
        house.script.gates["b"].set()
        assert await followed(one, 2) == ["a!", "b done"]
        await house.script.entered["c"].wait()
    house.script.gates["c"].set()
    async with restarted(house, handler, successor) as two:
        joined = await asyncio.gather(followed(two, 9), followed(two, 9), run(two, asked()))
        later = await followed(two, 9)
    assert joined[0] == joined[1] == answers(joined[2]) == later == ["a!", "b done", "c done"]
    assert house.script.calls == {"a": 1, "b": 1, "c": 2}


async def test_who_follows_a_workflow_that_failed_gets_its_responses_first(
    house: House, node: Callees, successor: Successor
) -> None:
    async def handler(request: StringValue, calls: StepCalls) -> AsyncIterator[StringValue]:
        yield StringValue(value="one")
        raise AlgorithmNotFoundError("gone")

    async with restarted(house, handler, successor) as one:
        for _ in range(2):
            following = one.node.engine.follow(asked())
            first = await anext(following)
            assert data.unpack_as(first, StringValue).value == "one"
            with pytest.raises(AlgorithmNotFoundError):
                await anext(following)


async def test_a_lost_lease_is_no_failure_of_the_step(
    house: House, node: Callees, successor: Successor
) -> None:
    met: list[str] = []

    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        met.append("run")
        try:
            await node.effect(calls, "first")
            await node.effect(calls, "second")
        except OnexError:
            met.append("error")
        return request

    house.script.errors["second"] = [StaleFenceError("a newer holder was seen")]
    async with restarted(house, handler, successor) as one:
        assert answers(await run(one, asked())) == ["go"]
    assert met == ["run", "run"]
    assert house.script.calls == {"first": 1, "second": 2}


async def test_calls_are_made_under_the_lease_with_their_action(
    house: House, node: Callees, successor: Successor
) -> None:
    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        await node.effect(calls, "a")
        return request

    async with restarted(house, handler, successor) as one:
        output = await run(one, asked())
    call = house.script.seen["a"]
    assert call.workflow_id == "w"
    assert call.correlation_id == asked().correlation_id
    assert call.lease is not None
    assert call.lease.lease_id == output.lease_id
    assert call.epoch == 1


async def test_many_workflows_in_one_stream(house: House, successor: Successor) -> None:
    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        return StringValue(value=calls.workflow.workflow_id)

    async with restarted(house, handler, successor) as one:

        async def several() -> AsyncIterator[Contract]:
            for name in ("x", "y"):
                contract = asked("go", name)
                # All of one call belong to its correlation id.
                contract.correlation_id = ""
                yield contract

        stream = one.orchestrator.StreamOrchestration(several())
        assert [answers(output) async for output in stream] == [["x"], ["y"]]


@pytest.mark.parametrize(("overlapping", "commits"), [(False, 2), (True, 3)])
async def test_the_order_of_overlapping_steps_is_durable_before_anything_is_built_on_it(
    house: House,
    node: Callees,
    successor: Successor,
    monkeypatch: pytest.MonkeyPatch,
    overlapping: bool,
    commits: int,
) -> None:
    monkeypatch.setattr(durability, "_LAG", 3600.0)

    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        if overlapping:
            await asyncio.gather(node.reduce(calls, "a"), node.reduce(calls, "b"))
        else:
            await node.reduce(calls, "a")
            await node.reduce(calls, "b")
        await node.reduce(calls, "c")
        return request

    async with restarted(house, handler, successor) as one:
        assert (await run(one, asked())).epoch == commits


async def test_a_handler_that_does_not_end_keeps_no_process_alive(
    house: House,
    node: Callees,
    successor: Successor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(imperative, "_STOPPING", 0.05)
    begun, let_go = asyncio.Event(), asyncio.Event()

    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        begun.set()
        while not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let_go.wait()
        with pytest.raises(asyncio.CancelledError):
            await node.effect(calls, "never")
        return request

    async with restarted(house, handler, successor) as one:
        waiting = asyncio.create_task(run(one, asked()))
        await begun.wait()
        await one.node.stop()
        with pytest.raises(NodeUnavailableError):
            await waiting
        assert "does not end when it is cancelled" in caplog.text
        let_go.set()
        assert (await state_of(one)).status == orchestrator_pb2.WORKFLOW_STATUS_RUNNING
    assert not house.script.calls
