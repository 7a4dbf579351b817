"""Ids under which nothing was started: only START_WORKFLOW and ExecuteOrchestration use them."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import pytest

from onex.v1 import action_pb2, lease_pb2, orchestrator_pb2
from onex_grpc.contract import data
from onex_grpc.errors import (
    AlreadyExistsError,
    EpochMismatchError,
    LeaseConflictError,
    LeaseExpiredError,
    Status,
    WorkflowNotFoundError,
)
from onex_grpc.store.keys import workflow_key
from tests.unit.orchestration.test_actions import (
    ABORT,
    DELEGATE,
    START,
    UPDATE,
    Request,
    acquire,
    action,
    begin,
    checkpoint,
    rollback,
    send,
    state_of,
)

if TYPE_CHECKING:
    from tests.unit.orchestration.conftest import House, SetClock

Workflow = orchestrator_pb2.ModelContractOrchestrator


def requests(lease: lease_pb2.Lease) -> list[Request]:
    """Return an action of every type but START_WORKFLOW, with and without an epoch."""
    cancelling = rollback(lease, 1, epoch=0)
    cancelling.action.command_payload.rollback.cancel_intents = True
    return [
        action(lease, UPDATE, epoch=0),
        action(lease, UPDATE, epoch=3),
        action(lease, DELEGATE),
        action(lease, DELEGATE, epoch=0),
        action(lease, DELEGATE, epoch=3),
        action(lease, ABORT),
        action(lease, ABORT, epoch=0),
        action(lease, ABORT, epoch=3),
        checkpoint(lease, "good", epoch=0),
        checkpoint(lease, "good", epoch=3),
        rollback(lease, 1, epoch=0),
        rollback(lease, "good", epoch=0),
        rollback(lease, 1, epoch=3),
        cancelling,
    ]


def one_step(workflow_id: str) -> Workflow:
    """Return a workflow of a single step."""
    contract = Workflow(workflow_id=workflow_id, correlation_id=str(uuid.uuid4()))
    contract.workflow_config.coordination_type = orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
    step = contract.workflow_config.steps.add(step_id="only", target_node="compute")
    step.compute.algorithm_config.algorithm_type = "task"
    step.compute.input_data.CopyFrom(data.pack("x"))
    return contract


async def release(house: House, lease: lease_pb2.Lease) -> None:
    await house.leases.ReleaseLease(
        lease_pb2.ReleaseLeaseRequest(
            workflow_id=lease.workflow_id, lease_id=lease.lease_id, fence=lease.fence
        )
    )


async def is_untouched(house: House, workflow_id: str, request: Request) -> bool:
    """Return whether a refused action left nothing behind."""
    row = await house.store.get_state(workflow_key(workflow_id))
    recorded = await house.store.find_action(workflow_id, request.action.action_id)
    return not row.version and recorded is None and not house.script.calls.total()


def test_every_type_is_tried() -> None:
    lease = lease_pb2.Lease(workflow_id="w", fence=1)
    tried = {request.action.action_type for request in requests(lease)}
    assert tried == set(action_pb2.ActionType.values()) - {
        action_pb2.ACTION_TYPE_UNSPECIFIED,
        START,
    }


async def test_actions_are_refused_and_the_id_can_be_started_by_hand(house: House) -> None:
    lease = await acquire(house, "w")
    for request in requests(lease):
        for _ in range(2):
            with pytest.raises(WorkflowNotFoundError, match="START_WORKFLOW") as refused:
                await send(house, request)
            assert refused.value.status is Status.NOT_FOUND
            assert refused.value.context == {"workflow_id": "w"}
        assert await is_untouched(house, "w", request)

    assert (await send(house, action(lease, START, epoch=0))).epoch == 1
    assert (await send(house, action(lease, DELEGATE))).epoch == 2


async def test_actions_are_refused_and_the_id_can_be_started_as_a_workflow(house: House) -> None:
    lease = await acquire(house, "w")
    for request in requests(lease):
        with pytest.raises(WorkflowNotFoundError):
            await send(house, request)
    with pytest.raises(LeaseConflictError):
        await house.orchestrator.ExecuteOrchestration(one_step("w"))
    await release(house, lease)

    output = await house.orchestrator.ExecuteOrchestration(one_step("w"))
    assert output.epoch == (await state_of(house, "w")).epoch > 0


async def test_a_refused_action_is_carried_out_once_the_workflow_is_there(house: House) -> None:
    lease = await acquire(house, "w")
    task = action(lease, DELEGATE)
    with pytest.raises(WorkflowNotFoundError):
        await send(house, task)
    await send(house, action(lease, START, epoch=0))
    assert (await send(house, task)).epoch == 2
    assert house.script.calls["task"] == 1


async def test_without_its_lease_nothing_is_told_of_an_id(house: House, clock: SetClock) -> None:
    lease = await acquire(house, "w")
    clock.advance(60)
    for request in requests(lease):
        with pytest.raises(LeaseExpiredError):
            await send(house, request)
        assert await is_untouched(house, "w", request)


async def test_start_races_a_task(house: House) -> None:
    for number in range(20):
        lease = await acquire(house, f"w{number}")
        task = action(lease, DELEGATE)
        outcomes = await asyncio.gather(
            send(house, task), send(house, action(lease, START, epoch=0)), return_exceptions=True
        )
        # The task comes before the start, and is refused, or after it.
        assert not isinstance(outcomes[1], BaseException)
        assert outcomes[1].epoch == 1
        if isinstance(outcomes[0], BaseException):
            assert isinstance(outcomes[0], WorkflowNotFoundError)
        else:
            assert outcomes[0].epoch == 2
        assert (await send(house, task)).epoch == 2


async def test_two_starts_race(house: House) -> None:
    lease = await acquire(house, "w")
    starts = [send(house, action(lease, START, epoch=0)) for _ in range(5)]
    outcomes = await asyncio.gather(*starts, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(refused) == 4
    assert all(isinstance(error, EpochMismatchError) for error in refused)
    assert (await state_of(house, "w")).epoch == 1


async def test_an_id_that_was_started_by_hand_is_no_other_workflow(house: House) -> None:
    lease = await begin(house, "w")
    await release(house, lease)
    for _ in range(2):
        with pytest.raises(AlreadyExistsError, match="an id of its own"):
            await house.orchestrator.ExecuteOrchestration(one_step("w"))
    # And nothing holds its lease on account of that.
    await acquire(house, "w", "b")
    assert (await state_of(house, "w")).epoch == 1


async def test_an_id_that_was_started_as_a_workflow_is_not_started_by_hand(house: House) -> None:
    await house.orchestrator.ExecuteOrchestration(one_step("w"))
    lease = await acquire(house, "w")
    with pytest.raises(EpochMismatchError):
        await send(house, action(lease, START, epoch=0))
    with pytest.raises(EpochMismatchError, match="has begun"):
        await send(house, action(lease, START, epoch=lease.epoch))


async def test_refused_actions_leave_neither_state_nor_history_nor_audit(house: House) -> None:
    lease = await acquire(house, "w")
    for request in requests(lease):
        with pytest.raises(WorkflowNotFoundError):
            await send(house, request)
    with pytest.raises(WorkflowNotFoundError):
        await state_of(house, "w")
    actions = await house.workflows.ListActions(
        orchestrator_pb2.ListActionsRequest(workflow_id="w")
    )
    history = house.workflows.ListHistory(
        orchestrator_pb2.ListWorkflowHistoryRequest(workflow_id="w")
    )
    assert not actions.actions
    assert [entry async for entry in history] == []
