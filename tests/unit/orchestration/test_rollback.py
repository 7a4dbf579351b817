"""Rollbacks: what is undone runs again as new actions, and what it wished is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import TYPE_CHECKING, NamedTuple

import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from onex.v1 import (
    action_pb2,
    intent_pb2,
    intent_pb2_grpc,
    lease_pb2,
    orchestrator_pb2,
    reducer_pb2,
    reducer_pb2_grpc,
)
from onex_grpc.action.ids import derive_action_id
from onex_grpc.context import CallContext, LeaseClaim, enter_call
from onex_grpc.contract import data
from onex_grpc.errors import (
    AlgorithmNotFoundError,
    AlreadyExistsError,
    ContractValidationError,
    LeaseConflictError,
    LeaseValidationError,
    OnexError,
    OutcomeUnknownError,
    StaleFenceError,
    StateUpdateConflictError,
    TargetNotFoundError,
    WorkflowExecutionError,
)
from onex_grpc.store.model import Guard, IntentState
from onex_grpc.workflow.answers import Answers, Given
from onex_grpc.workflow.calls import StepCall
from tests.unit.orchestration.callees import (
    Callees,
    asked,
    restarted,
    run,
    start_by_hand,
    state_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from onex_grpc.workflow.calls import StepCalls
    from tests.unit.orchestration.callees import Successor
    from tests.unit.orchestration.conftest import House

Request = orchestrator_pb2.ExecuteActionRequest
Contract = orchestrator_pb2.ModelContractOrchestrator
RUNNING = orchestrator_pb2.WORKFLOW_STATUS_RUNNING
COMPLETED = orchestrator_pb2.WORKFLOW_STATUS_COMPLETED


class Stand(NamedTuple):
    """A state that a workflow has had."""

    epoch: int
    state: orchestrator_pb2.WorkflowState


async def steal(house: House, workflow_id: str = "w") -> lease_pb2.Lease:
    theft = lease_pb2.StealLeaseRequest(
        workflow_id=workflow_id, holder="operator", request_id=str(uuid.uuid4()), reason="test"
    )
    return (await house.leases.StealLease(theft)).lease


async def release(house: House, lease: lease_pb2.Lease) -> None:
    await house.leases.ReleaseLease(
        lease_pb2.ReleaseLeaseRequest(
            workflow_id=lease.workflow_id, lease_id=lease.lease_id, fence=lease.fence
        )
    )


def rollback(lease: lease_pb2.Lease, to: int, *, cancel: bool = True) -> Request:
    request = Request(workflow_id=lease.workflow_id, fence=lease.fence, lease_token=lease.token)
    one = request.action
    one.action_id = str(uuid.uuid4())
    one.action_type = action_pb2.ACTION_TYPE_ROLLBACK_STATE
    one.lease_id = lease.lease_id
    one.epoch = lease.epoch
    one.correlation_id = str(uuid.uuid4())
    one.issued_at.GetCurrentTime()
    one.target_node = "orchestrator"
    one.command_payload.rollback.epoch = to
    one.command_payload.rollback.cancel_intents = cancel
    return request


async def history(house: House) -> list[Stand]:
    request = orchestrator_pb2.ListWorkflowHistoryRequest(workflow_id="w")
    entries = [each.entry async for each in house.workflows.ListHistory(request)]
    return [
        Stand(e.version, data.unpack_as(e.state, orchestrator_pb2.WorkflowState)) for e in entries
    ]


async def epoch_with(house: House, steps: int) -> int:
    """The first epoch at which so many steps had ended, once there is one."""
    async with asyncio.timeout(10):
        while True:
            for stand in await history(house):
                if len(stand.state.steps) >= steps:
                    assert len(stand.state.steps) == steps
                    return stand.epoch
            await asyncio.sleep(0.005)


async def wish(house: House, calls: StepCalls, key: str, lost: OnexError | None = None) -> int:
    """A step of a reducer that emits an intent; `lost` comes in the place of its reply."""
    stub = house.mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer/main")
    request = wishing(key)

    async def send() -> reducer_pb2.ModelReducerOutput:
        reply = await stub.ExecuteReduction(request)
        if lost is not None:
            raise lost
        return reply

    step = StepCall(
        rpc="onex.v1.ReducerNodeService/ExecuteReduction",
        target="reducer/main",
        request=request,
        response=reducer_pb2.ModelReducerOutput,
        send=send,
    )
    response = await calls.call(step)
    return data.unpack_as(response.aggregated_data, Int64Value).value


def wishing(key: str) -> reducer_pb2.ModelContractReducer:
    request = reducer_pb2.ModelContractReducer()
    request.reduction_config.state_key = key
    request.input_data.action = "WISH"
    return request


async def queued(house: House, state: IntentState) -> list[str]:
    """The keys of the intents of a state."""
    rows = await house.states.list_intents(state, 0, 100)
    wishes = [intent_pb2.ModelIntent.FromString(row.payload) for row in rows]
    return [wished.payload.message.key for wished in wishes]


def graph(*steps: orchestrator_pb2.WorkflowStep) -> Contract:
    contract = Contract(correlation_id=str(uuid.uuid4()), workflow_id="w")
    contract.workflow_config.coordination_type = orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
    contract.workflow_config.steps.extend(steps)
    return contract


def reduction(step_id: str) -> orchestrator_pb2.WorkflowStep:
    return orchestrator_pb2.WorkflowStep(
        step_id=step_id, target_node="reducer/main", reducer=wishing(step_id)
    )


def calculation(name: str) -> orchestrator_pb2.WorkflowStep:
    step = orchestrator_pb2.WorkflowStep(step_id=name, target_node="compute/main")
    step.compute.algorithm_config.algorithm_type = name
    step.compute.input_data.CopyFrom(data.pack(name))
    return step


@pytest.fixture
async def one(house: House, successor: Successor) -> AsyncIterator[House]:
    """An orchestrator with a handler: two wishes, with a calculation after each."""
    callees = Callees(house)

    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        said = []
        for key in ("first", "second"):
            said.append(str(await wish(house, calls, key)))
            said.append(await callees.compute(calls, f"after_{key}"))
        return StringValue(value=" ".join(said))

    async with restarted(house, handler, successor) as house_with_handler:
        yield house_with_handler


GRAPH = graph(
    reduction("first"), calculation("after_first"), reduction("second"), calculation("after_second")
)


@pytest.fixture(params=["graph", "handler"])
def contract(request: pytest.FixtureRequest) -> Contract:
    """A workflow of four steps, in both ways to write one."""
    made = Contract()
    made.CopyFrom(GRAPH if request.param == "graph" else asked())
    return made


async def run_to_second(house: House, contract: Contract) -> tuple[asyncio.Task[object], int]:
    """Runs a workflow until it waits in its last step; the epoch with the first step only."""
    house.script.gate("after_first")
    house.script.gate("after_second")
    running = asyncio.create_task(run(house, contract))
    back_to = await epoch_with(house, 1)
    house.script.gates.pop("after_first").set()
    await house.script.entered["after_second"].wait()
    await epoch_with(house, 3)
    return running, back_to


async def open_work(house: House) -> list[str]:
    return [work.key for work in await house.store.list_open("workflow/")]


async def test_undone_steps_run_again_as_new_actions(one: House, contract: Contract) -> None:
    running, back_to = await run_to_second(one, contract)
    assert await queued(one, IntentState.PENDING) == ["first", "second"]

    lease = await steal(one)
    request = rollback(lease, back_to)
    reply = await one.orchestrator.ExecuteAction(request)
    assert (reply.cancellation.cancelled, reply.cancellation.kept) == (1, 0)
    assert await queued(one, IntentState.CANCELLED) == ["second"]
    state = await state_of(one)
    assert (state.run, len(state.steps), state.steps[0].run) == (1, 1, 0)

    await release(one, lease)
    one.script.gates["after_second"].set()
    # Whoever waited gets what the new run comes to, or is told that the lease was stolen.
    await asyncio.gather(running, return_exceptions=True)
    output = await run(one, contract)
    assert output.orchestration_result.status == COMPLETED
    assert await queued(one, IntentState.PENDING) == ["first", "second"]
    assert (await one.states.get_state("reducer/main/first")).version == 1
    assert (await one.states.get_state("reducer/main/second")).version == 2
    state = await state_of(one)
    assert [step.run for step in state.steps] == [0, 1, 1, 1]
    rows = await one.store.list_actions("w", 0, 100)
    known = {row.action_id for row in rows}
    assert {derive_action_id("w", step.run, step.step_id) for step in state.steps} <= known
    # The start, the rollback, and of the undone steps those that had been recorded.
    assert len(rows) == 2 + 4 + 2
    # The reply is the recorded one, whatever became of the lease.
    assert await one.orchestrator.ExecuteAction(request) == reply
    other = rollback(lease, back_to, cancel=False)
    other.action.action_id = request.action.action_id
    with pytest.raises(AlreadyExistsError):
        await one.orchestrator.ExecuteAction(other)


async def test_intents_stay_unless_they_are_to_be_cancelled(one: House, contract: Contract) -> None:
    running, back_to = await run_to_second(one, contract)
    lease = await steal(one)
    reply = await one.orchestrator.ExecuteAction(rollback(lease, back_to, cancel=False))
    assert not reply.HasField("cancellation")
    await release(one, lease)
    one.script.gates["after_second"].set()
    await asyncio.gather(running, return_exceptions=True)
    await run(one, contract)
    assert await queued(one, IntentState.PENDING) == ["first", "second", "second"]


async def test_what_a_worker_has_is_kept_and_told(one: House, contract: Contract) -> None:
    running, _ = await run_to_second(one, contract)
    (claimed,) = await one.states.claim_intents("effect/a", 1, 10_000_000)
    lease = await steal(one)
    told = (await one.orchestrator.ExecuteAction(rollback(lease, 1))).cancellation
    assert (told.cancelled, told.kept) == (1, 1)
    (kept,) = told.kept_intents
    assert (kept.intent_id, kept.status) == (
        claimed.intent_id,
        intent_pb2.INTENT_STATUS_IN_FLIGHT,
    )
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("cancel", [True, False])
async def test_a_completed_workflow_runs_again(
    one: House, contract: Contract, *, cancel: bool
) -> None:
    first = await run(one, contract)
    stands = await history(one)
    lease = await steal(one)
    assert lease.epoch == first.epoch
    await one.orchestrator.ExecuteAction(rollback(lease, 1, cancel=cancel))
    assert await open_work(one) == ["workflow/w"]
    with pytest.raises(LeaseConflictError):
        await run(one, contract)
    await release(one, lease)
    second = await run(one, contract)
    assert second.orchestration_result.status == COMPLETED
    assert second.epoch > first.epoch
    assert await queued(one, IntentState.PENDING) == ["first", "second"] * (1 if cancel else 2)
    assert one.script.calls["after_first"] == 2
    assert await open_work(one) == []

    # Back to how it had ended the first time: it has ended again, and nothing is done.
    lease = await steal(one)
    end = rollback(lease, stands[-1].epoch, cancel=False)
    reply = await one.orchestrator.ExecuteAction(end)
    assert await open_work(one) == []
    third = await run(one, contract)
    assert third.epoch == reply.epoch
    assert third.orchestration_result == first.orchestration_result
    assert third.execution_metadata == first.execution_metadata
    assert (await state_of(one)).run == 2
    assert one.script.calls["after_first"] == 2


async def test_intents_of_a_state_that_was_gone_back_to_are_those_of_its_steps(
    one: House, contract: Contract
) -> None:
    await run(one, contract)
    last = (await history(one))[-1].epoch
    lease = await steal(one)
    await one.orchestrator.ExecuteAction(rollback(lease, 1, cancel=False))
    lease.epoch += 1
    await one.orchestrator.ExecuteAction(rollback(lease, last, cancel=False))
    # Forward again, and back: what lies between the two counts, not which epoch is the higher one.
    lease.epoch += 1
    told = await one.orchestrator.ExecuteAction(rollback(lease, last + 1))
    assert told.cancellation.cancelled == 2
    assert (await state_of(one)).run == 3


async def test_a_failed_workflow_gets_another_chance(one: House, contract: Contract) -> None:
    one.script.errors["after_second"] = [AlgorithmNotFoundError("not yet")]
    with pytest.raises((WorkflowExecutionError, AlgorithmNotFoundError)):
        await run(one, contract)
    back_to = next(s.epoch for s in await history(one) if len(s.state.steps) >= 2)
    lease = await steal(one)
    await one.orchestrator.ExecuteAction(rollback(lease, back_to))
    state = await state_of(one)
    assert state.status == RUNNING
    assert not state.HasField("error")
    assert not state.HasField("execution_time")
    await release(one, lease)
    # It is gone on with at recovery, too, not only when it is asked for.
    assert await one.node.engine.resume_all() == 1
    assert (await run(one, contract)).orchestration_result.status == COMPLETED
    assert (await state_of(one)).HasField("execution_time")


async def test_a_rollback_under_the_engines_own_lease_restarts_it(
    one: House, contract: Contract
) -> None:
    running, back_to = await run_to_second(one, contract)
    claim = one.script.seen["after_second"].lease
    assert claim is not None
    epoch = await epoch_of(one)
    lease = lease_pb2.Lease(
        workflow_id="w", lease_id=claim.lease_id, fence=claim.fence, token=claim.token, epoch=epoch
    )
    reply = await one.orchestrator.ExecuteAction(rollback(lease, back_to))
    assert reply.cancellation.cancelled == 1
    one.script.gates["after_second"].set()
    async with asyncio.timeout(10):
        await running
    assert (await one.states.get_state("reducer/main/second")).version == 2
    assert [step.run for step in (await state_of(one)).steps] == [0, 1, 1, 1]


async def test_the_record_keeps_what_was_asked_for_and_undone(house: House) -> None:
    await run(house, GRAPH)
    lease = await steal(house)
    request = rollback(lease, 1)
    request.action.metadata.entries["why"] = "a test"
    await house.orchestrator.ExecuteAction(request)
    recorded = await house.store.find_action("w", request.action.action_id)
    assert recorded is not None
    kept = orchestrator_pb2.RollbackRecord.FromString(recorded.request)
    assert kept.action.metadata.entries["why"] == "a test"
    (undone,) = kept.undone
    assert undone.target_node == "reducer/main"
    ids = [derive_action_id("w", 0, step) for step in ("first", "second")]
    assert sorted(undone.action_ids) == sorted(ids)


async def test_a_former_holder_cancels_nothing(house: House) -> None:
    lease = await steal(house)
    await start_by_hand(house, lease)
    await house.orchestrator.ExecuteAction(delegation(lease, "a"))
    await house.orchestrator.ExecuteAction(delegation(lease, "b"))
    newer = await steal(house)
    rows = await house.states.list_intents(IntentState.PENDING, 0, 10)
    ids = [intent_pb2.ModelIntent.FromString(row.payload).intent_id for row in rows]
    queue = house.mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, "reducer/main")

    async def cancel_as(holder: lease_pb2.Lease, name: str) -> int:
        claim = LeaseClaim("w", holder.lease_id, holder.fence, holder.token)
        enter_call(CallContext(correlation_id=str(uuid.uuid4()), workflow_id="w", lease=claim))
        request = intent_pb2.CancelIntentsRequest(intent_ids=[name])
        return (await queue.CancelIntents(request)).cancellation.cancelled

    assert await cancel_as(newer, ids[0]) == 1
    with pytest.raises(StaleFenceError):
        await cancel_as(lease, ids[1])
    newer.token = newer.token[:-8] + "AAAAAAAA"
    with pytest.raises(LeaseValidationError):
        await cancel_as(newer, ids[1])
    assert await queued(house, IntentState.PENDING) == ["b"]
    # What the call's admission lets through is refused in the transaction.
    with pytest.raises(StaleFenceError):
        await house.states.cancel_intents(ids, Guard("w", lease.lease_id, lease.fence))


async def epoch_of(house: House) -> int:
    return (await house.store.get_state("workflow/w")).version


async def test_intents_of_delegated_tasks_are_cancelled(house: House) -> None:
    lease = await steal(house)
    await start_by_hand(house, lease)
    await house.orchestrator.ExecuteAction(delegation(lease, "kept"))
    own = delegation(lease, "own")
    own.action.command_payload.reducer.action_id = str(uuid.uuid4())
    for request in (delegation(lease, "plain"), own):
        await house.orchestrator.ExecuteAction(request)
    lease.epoch = 4
    told = await house.orchestrator.ExecuteAction(rollback(lease, 2))
    assert told.cancellation.cancelled == 2
    assert await queued(house, IntentState.PENDING) == ["kept"]
    # Of a workflow that the orchestrator did not begin it knows nothing that it could go on with.
    assert await open_work(house) == []


def delegation(lease: lease_pb2.Lease, key: str) -> Request:
    request = rollback(lease, 1)
    request.action.ClearField("epoch")
    request.action.action_type = action_pb2.ACTION_TYPE_DELEGATE_TASK
    request.action.target_node = "reducer/main"
    request.action.command_payload.reducer.CopyFrom(wishing(key))
    return request


async def test_a_step_under_way_is_undone_though_nobody_recorded_it(house: House) -> None:
    gate = house.script.gate("after_first")
    running = asyncio.create_task(run(house, GRAPH))
    await epoch_with(house, 1)
    # The call of the next step, and a holder that does not live to see its end.
    request = wishing("second")
    request.action_id = derive_action_id("w", 0, "second")
    request.correlation_id = str(uuid.uuid4())
    reducer = house.mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer/main")
    await reducer.ExecuteReduction(request)
    lease = await steal(house)
    told = (await house.orchestrator.ExecuteAction(rollback(lease, 1))).cancellation
    assert told.cancelled == 2
    gate.set()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_step_of_code_that_seemed_to_fail_is_undone(
    house: House, successor: Successor
) -> None:
    callees = Callees(house)

    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        await wish(house, calls, "first")
        await callees.compute(calls, "between")
        with contextlib.suppress(OutcomeUnknownError):
            await wish(house, calls, "second", lost=OutcomeUnknownError("the reply was lost"))
        return StringValue(value="done")

    async with restarted(house, handler, successor) as one:
        one.script.gate("between")
        running = asyncio.create_task(run(one, asked()))
        back_to = await epoch_with(one, 1)
        one.script.gates["between"].set()
        await running
        lease = await steal(one)
        told = (await one.orchestrator.ExecuteAction(rollback(lease, back_to))).cancellation
        assert told.cancelled == 1
        assert await queued(one, IntentState.CANCELLED) == ["second"]


async def test_one_that_was_given_up_is_taken_up_again(
    house: House, one: House, successor: Successor
) -> None:
    one.script.gate("after_first")
    running = asyncio.create_task(run(one, asked()))
    await epoch_with(one, 1)
    house.offered.clear()
    await one.node.stop()
    await asyncio.gather(running, return_exceptions=True)
    async with successor() as without:
        # Nothing here knows how to go on with it.
        with pytest.raises(ContractValidationError):
            await without.node.engine.execute(asked())
        while True:
            if not await without.node.engine.resume_all():
                break
            await asyncio.sleep(0)
        assert await open_work(without) == ["workflow/w"]
        lease = await steal(without)
        await without.orchestrator.ExecuteAction(rollback(lease, 1))
        await release(without, lease)
        assert await without.node.engine.resume_all() == 1


async def test_nothing_is_rolled_back_where_a_reducer_is_missing(
    house: House, successor: Successor
) -> None:
    await run(house, GRAPH)
    del house.addresses["reducer/main"]
    async with successor() as without:
        lease = await steal(without)
        with pytest.raises(TargetNotFoundError):
            await without.orchestrator.ExecuteAction(rollback(lease, 1))
        assert (await state_of(without)).status == COMPLETED
        await without.orchestrator.ExecuteAction(rollback(lease, 1, cancel=False))


async def test_followers_are_told_that_what_they_have_was_undone() -> None:
    said = [data.pack(StringValue(value=text)) for text in "abc"]
    told, early, late = Answers(), Given(), Given()
    told.publish(said[:2], run=0)
    assert await told.after(early) == said[:2]
    early.count = 2
    told.publish(said[:1], run=1)
    with pytest.raises(StateUpdateConflictError):
        await told.after(early)
    assert await told.after(late) == said[:1]
    late.count = 1
    waiting = asyncio.create_task(told.after(late))
    await asyncio.sleep(0)
    told.publish(said, run=2)
    with pytest.raises(StateUpdateConflictError):
        await waiting
