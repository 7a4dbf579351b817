"""ExecuteAction over a real store: its checks in their order, and each action once."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from onex.v1 import action_pb2, lease_pb2, orchestrator_pb2
from onex_grpc.contract import data
from onex_grpc.errors import (
    ActionExpiredError,
    AlgorithmNotFoundError,
    AlreadyExistsError,
    ContractValidationError,
    EpochMismatchError,
    HistoryNotFoundError,
    LeaseExpiredError,
    LeaseValidationError,
    NodeUnavailableError,
    OnexError,
    OutcomeUnknownError,
    StaleFenceError,
    TransitionError,
)

if TYPE_CHECKING:
    from tests.unit.orchestration.conftest import House, SetClock

Request = orchestrator_pb2.ExecuteActionRequest
START = action_pb2.ACTION_TYPE_START_WORKFLOW
UPDATE = action_pb2.ACTION_TYPE_UPDATE_STATE
DELEGATE = action_pb2.ACTION_TYPE_DELEGATE_TASK
ABORT = action_pb2.ACTION_TYPE_ABORT_WORKFLOW


async def acquire(house: House, workflow_id: str, holder: str = "a") -> lease_pb2.Lease:
    request = lease_pb2.AcquireLeaseRequest(
        workflow_id=workflow_id, holder=holder, request_id=str(uuid.uuid4())
    )
    return (await house.leases.AcquireLease(request)).lease


def action(
    lease: lease_pb2.Lease,
    action_type: action_pb2.ActionType.ValueType,
    *,
    epoch: int | None = None,
    action_id: str = "",
    text: str = "x",
) -> Request:
    request = Request(workflow_id=lease.workflow_id, fence=lease.fence, lease_token=lease.token)
    one = request.action
    one.action_id = action_id or str(uuid.uuid4())
    one.action_type = action_type
    one.lease_id = lease.lease_id
    if epoch is not None:
        one.epoch = epoch
    one.correlation_id = "3f1f5f7e-0000-4000-8000-000000000001"
    one.issued_at.GetCurrentTime()
    one.target_node = "orchestrator"
    if action_type == DELEGATE:
        one.target_node = "compute"
        one.command_payload.compute.algorithm_config.algorithm_type = "task"
        one.command_payload.compute.input_data.CopyFrom(data.pack(text))
    elif action_type != ABORT:
        one.command_payload.state.CopyFrom(data.pack(text))
    return request


async def send(house: House, request: Request) -> orchestrator_pb2.ExecuteActionResponse:
    return await house.orchestrator.ExecuteAction(request)


async def begin(house: House, workflow_id: str) -> lease_pb2.Lease:
    """Return a lease over a workflow that it has started: at epoch 1."""
    lease = await acquire(house, workflow_id)
    await send(house, action(lease, START, epoch=0))
    return lease


async def state_of(house: House, workflow_id: str) -> orchestrator_pb2.GetWorkflowResponse:
    return await house.workflows.GetWorkflow(
        orchestrator_pb2.GetWorkflowRequest(workflow_id=workflow_id)
    )


async def test_the_epoch_counts_the_changes(house: House) -> None:
    lease = await acquire(house, "w")
    assert lease.epoch == 0
    assert (await send(house, action(lease, START, epoch=0, text="begun"))).epoch == 1
    delegated = await send(house, action(lease, DELEGATE, text="done"))
    assert delegated.epoch == 2
    assert data.unpack(delegated.result) == "done"
    assert delegated.status == action_pb2.ACTION_STATUS_COMPLETED
    assert (await send(house, action(lease, UPDATE, epoch=2, text="new"))).epoch == 3
    stored = await state_of(house, "w")
    assert data.unpack(stored.state.data) == "new"
    assert [data.unpack(s.output) for s in stored.state.steps] == ["done"]
    assert stored.epoch == 3


async def test_a_task_is_delegated_under_the_lease(house: House) -> None:
    lease = await begin(house, "w")
    request = action(lease, DELEGATE)
    await send(house, request)
    call = house.script.seen["task"]
    assert call.lease is not None
    assert (call.lease.fence, call.lease.lease_id) == (lease.fence, lease.lease_id)
    assert call.action_id == request.action.action_id
    assert call.epoch == 1
    assert call.caller == ""


@pytest.mark.parametrize("action_type", [START, UPDATE])
async def test_an_absent_epoch_is_not_zero(
    house: House, action_type: action_pb2.ActionType.ValueType
) -> None:
    lease = await acquire(house, "w")
    with pytest.raises(ContractValidationError, match="epoch"):
        await send(house, action(lease, action_type))


@pytest.mark.parametrize("action_type", [START, UPDATE, DELEGATE, ABORT])
async def test_another_epoch_is_refused(
    house: House, action_type: action_pb2.ActionType.ValueType
) -> None:
    lease = await acquire(house, "w")
    await send(house, action(lease, START, epoch=0))
    with pytest.raises(EpochMismatchError):
        await send(house, action(lease, action_type, epoch=0))
    assert house.script.calls["task"] == 0


async def test_a_begun_workflow_is_not_begun_again(house: House) -> None:
    lease = await acquire(house, "w")
    await send(house, action(lease, START, epoch=0))
    with pytest.raises(EpochMismatchError):
        await send(house, action(lease, START, epoch=1))


async def test_an_expired_action_is_refused(house: House) -> None:
    lease = await begin(house, "w")
    request = action(lease, DELEGATE)
    request.action.expires_at.FromSeconds(int(time.time()) - 1)
    with pytest.raises(ActionExpiredError):
        await send(house, request)
    assert house.script.calls["task"] == 0


async def test_a_token_must_be_genuine_and_that_of_the_lease(house: House) -> None:
    lease = await begin(house, "w")
    other = await acquire(house, "v")
    head, body, signature = lease.token.split(".")
    altered = f"{head}.{body}.{signature[::-1]}"
    for token in (altered, "no.jwt.atall", other.token):
        request = action(lease, DELEGATE)
        request.lease_token = token
        with pytest.raises(LeaseValidationError):
            await send(house, request)
    for field, value in (("lease_id", str(uuid.uuid4())), ("fence", lease.fence + 1)):
        request = action(lease, DELEGATE)
        setattr(request if field == "fence" else request.action, field, value)
        with pytest.raises(LeaseValidationError):
            await send(house, request)
    assert house.script.calls["task"] == 0


async def test_a_former_holder_is_refused(house: House, clock: SetClock) -> None:
    lease = await begin(house, "w")
    clock.advance(60)
    with pytest.raises(LeaseExpiredError):
        await send(house, action(lease, DELEGATE))
    await acquire(house, "w", "b")
    with pytest.raises(StaleFenceError):
        await send(house, action(lease, DELEGATE))


async def test_a_repeat_gets_the_recorded_reply(house: House, clock: SetClock) -> None:
    lease = await begin(house, "w")
    request = action(lease, DELEGATE)
    first = await send(house, request)
    await send(house, action(lease, UPDATE, epoch=2))
    assert await send(house, request) == first
    clock.advance(60)
    successor = await acquire(house, "w", "b")
    repeat = action(successor, DELEGATE, epoch=3, action_id=request.action.action_id)
    assert await send(house, repeat) == first
    assert house.script.calls["task"] == 1


async def test_an_old_task_is_answered_from_the_record_or_refused(house: House) -> None:
    lease = await begin(house, "w")
    request = action(lease, DELEGATE)
    first = await send(house, request)
    assert house.script.seen["task"].issued_us == 0
    request.action.issued_at.FromSeconds(int(time.time()) - 40 * 86_400)
    assert await send(house, request) == first
    for seconds in (int(time.time()) - 40 * 86_400, -1):
        unknown = action(lease, DELEGATE)
        unknown.action.issued_at.FromSeconds(seconds)
        with pytest.raises(OutcomeUnknownError, match=rf"{unknown.action.action_id}.*30 days"):
            await send(house, unknown)
        assert await house.store.find_action("w", unknown.action.action_id) is None
    assert house.script.calls["task"] == 1
    assert (await state_of(house, "w")).epoch == 2


async def test_a_task_that_was_issued_before_tells_its_node_so(house: House) -> None:
    lease = await begin(house, "w")
    request = action(lease, DELEGATE)
    request.action.issued_at.FromSeconds(int(time.time()) - 28 * 86_400)
    await send(house, request)
    issued_us = request.action.issued_at.ToMicroseconds()
    assert house.script.seen["task"].issued_us == issued_us


async def test_the_whole_action_is_kept_for_the_audit(house: House) -> None:
    lease = await begin(house, "w")
    request = action(lease, UPDATE, epoch=1)
    request.action.metadata.entries["why"] = "because"
    request.action.parent_action_id = str(uuid.uuid4())
    await send(house, request)
    recorded = await house.store.find_action("w", request.action.action_id)
    assert recorded is not None
    assert action_pb2.ModelAction.FromString(recorded.request) == request.action


async def test_another_content_under_a_known_id_is_refused(house: House) -> None:
    lease = await begin(house, "w")
    request = action(lease, DELEGATE)
    await send(house, request)
    with pytest.raises(AlreadyExistsError):
        await send(house, action(lease, DELEGATE, action_id=request.action.action_id, text="y"))


async def test_sent_twice_at_the_same_time_it_is_executed_once(house: House) -> None:
    lease = await begin(house, "w")
    request = action(lease, DELEGATE)
    gate = house.script.gate("task")
    first = asyncio.create_task(send(house, request))
    await house.script.entered["task"].wait()
    second = asyncio.create_task(send(house, request))
    with pytest.raises(AlreadyExistsError):
        await send(house, action(lease, DELEGATE, action_id=request.action.action_id, text="y"))
    gate.set()
    assert await first == await second
    assert house.script.calls["task"] == 1


async def test_an_intruder_does_not_spoil_the_holders_action(house: House) -> None:
    lease = await begin(house, "w")
    request = action(lease, DELEGATE)
    forged = Request()
    forged.CopyFrom(request)
    forged.lease_token = (await acquire(house, "v")).token
    outcomes = await asyncio.gather(
        send(house, forged), send(house, request), return_exceptions=True
    )
    assert isinstance(outcomes[0], LeaseValidationError)
    assert not isinstance(outcomes[1], BaseException)


async def test_who_gives_up_finds_the_reply_later(house: House) -> None:
    lease = await begin(house, "w")
    request = action(lease, DELEGATE)
    gate = house.script.gate("task")
    caller = asyncio.create_task(send(house, request))
    await house.script.entered["task"].wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    gate.set()
    assert (await send(house, request)).epoch == 2
    assert house.script.calls["task"] == 1


async def test_a_final_failure_is_recorded_and_a_passing_one_is_not(house: House) -> None:
    lease = await begin(house, "w")
    request = action(lease, DELEGATE)
    house.script.errors["task"] = [NodeUnavailableError("away"), AlgorithmNotFoundError("none")]
    expected: list[type[OnexError]] = [
        NodeUnavailableError,
        AlgorithmNotFoundError,
        AlgorithmNotFoundError,
    ]
    for error in expected:
        with pytest.raises(error):
            await send(house, request)
    assert house.script.calls["task"] == 2


async def test_an_aborted_workflow_changes_no_more(house: House) -> None:
    lease = await acquire(house, "w")
    await send(house, action(lease, START, epoch=0))
    assert (await send(house, action(lease, ABORT))).epoch == 2
    stored = await state_of(house, "w")
    assert stored.state.status == orchestrator_pb2.WORKFLOW_STATUS_CANCELLED
    for late in (action(lease, UPDATE, epoch=2), action(lease, DELEGATE), action(lease, ABORT)):
        with pytest.raises(TransitionError):
            await send(house, late)
    assert house.script.calls["task"] == 0


async def test_parallel_results_are_all_folded(house: House) -> None:
    lease = await begin(house, "w")
    replies = await asyncio.gather(
        *(send(house, action(lease, DELEGATE, text=str(n))) for n in range(20))
    )
    assert sorted(reply.epoch for reply in replies) == list(range(2, 22))
    stored = await state_of(house, "w")
    assert {data.unpack(s.output) for s in stored.state.steps} == set(map(str, range(20)))


async def test_checkpoint_pins_the_epoch_and_leaves_it(house: House) -> None:
    lease = await acquire(house, "w")
    await send(house, action(lease, START, epoch=0, text="one"))
    pin = checkpoint(lease, "good", epoch=1)
    assert (await send(house, pin)).epoch == 1
    assert (await send(house, pin)).epoch == 1
    assert (await state_of(house, "w")).epoch == 1
    with pytest.raises(EpochMismatchError):
        await send(house, checkpoint(lease, "other", epoch=0))


@pytest.mark.parametrize("to", [1, "good"])
async def test_rollback_writes_an_earlier_state_again(house: House, to: int | str) -> None:
    lease = await acquire(house, "w")
    await send(house, action(lease, START, epoch=0, text="one"))
    await send(house, checkpoint(lease, "good", epoch=1))
    await send(house, action(lease, UPDATE, epoch=1, text="two"))
    back = rollback(lease, to, epoch=2)
    assert (await send(house, back)).epoch == 3
    assert (await send(house, back)).epoch == 3
    stored = await state_of(house, "w")
    assert (data.unpack(stored.state.data), stored.epoch) == ("one", 3)
    with pytest.raises(EpochMismatchError):
        await send(house, rollback(lease, to, epoch=2))


async def test_rollback_to_what_never_was(house: House) -> None:
    lease = await acquire(house, "w")
    await send(house, action(lease, START, epoch=0))
    for to in (2, "unknown"):
        with pytest.raises(HistoryNotFoundError):
            await send(house, rollback(lease, to, epoch=1))


async def test_a_workflow_that_has_ended_is_rolled_back_and_runs(house: House) -> None:
    lease = await acquire(house, "w")
    await send(house, action(lease, START, epoch=0))
    await send(house, action(lease, ABORT))
    assert (await send(house, rollback(lease, 1, epoch=2))).epoch == 3
    assert (await send(house, action(lease, UPDATE, epoch=3, text="on"))).epoch == 4
    # It is not this orchestrator that coordinates it.
    assert await house.store.list_open("workflow/") == []
    # And back to its end.
    assert (await send(house, rollback(lease, 2, epoch=4))).epoch == 5
    stored = await state_of(house, "w")
    assert stored.state.status == orchestrator_pb2.WORKFLOW_STATUS_CANCELLED
    with pytest.raises(TransitionError):
        await send(house, action(lease, UPDATE, epoch=5))


async def test_a_former_holder_pins_and_rolls_back_nothing(house: House) -> None:
    lease = await acquire(house, "w")
    await send(house, action(lease, START, epoch=0))
    theft = lease_pb2.StealLeaseRequest(
        workflow_id="w", holder="b", request_id=str(uuid.uuid4()), reason="test"
    )
    await house.leases.StealLease(theft)
    for request in (checkpoint(lease, "n", epoch=1), rollback(lease, 1, epoch=1)):
        with pytest.raises(StaleFenceError):
            await send(house, request)


@pytest.mark.parametrize("action_type", [START, UPDATE, DELEGATE])
async def test_commands_of_other_actions_are_refused(
    house: House, action_type: action_pb2.ActionType.ValueType
) -> None:
    lease = await acquire(house, "w")
    request = checkpoint(lease, "n", epoch=0)
    request.action.action_type = action_type
    with pytest.raises(ContractValidationError, match=r"command_payload\.checkpoint"):
        await send(house, request)


def checkpoint(lease: lease_pb2.Lease, name: str, *, epoch: int) -> Request:
    request = action(lease, START, epoch=epoch)
    request.action.action_type = action_pb2.ACTION_TYPE_CHECKPOINT_STATE
    request.action.command_payload.checkpoint.name = name
    return request


def rollback(lease: lease_pb2.Lease, to: int | str, *, epoch: int) -> Request:
    request = action(lease, START, epoch=epoch)
    request.action.action_type = action_pb2.ACTION_TYPE_ROLLBACK_STATE
    if isinstance(to, int):
        request.action.command_payload.rollback.epoch = to
    else:
        request.action.command_payload.rollback.checkpoint = to
    return request


async def test_the_command_must_fit_the_target(house: House) -> None:
    lease = await acquire(house, "w")
    request = action(lease, DELEGATE)
    request.action.target_node = "effect"
    with pytest.raises(ContractValidationError, match="target_node"):
        await send(house, request)
