"""Who else changes a workflow's state while the engine works on it, and what becomes of both."""

from __future__ import annotations

import asyncio
import contextvars
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from onex.v1 import action_pb2, error_pb2, lease_pb2, orchestrator_pb2
from onex_grpc.action.state import read_state
from onex_grpc.context import LeaseClaim
from onex_grpc.contract import data
from onex_grpc.errors import (
    AlreadyExistsError,
    LeaseValidationError,
    NodeUnavailableError,
    StaleFenceError,
)
from onex_grpc.store.keys import workflow_key
from onex_grpc.store.model import Commit, FenceOnly, Guard, LeaseRequest
from onex_grpc.workflow.journal import Journal
from tests.unit.orchestration.callees import start_by_hand

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from onex_grpc.store.model import Committed, LeaseGrant, Replayed, Started
    from tests.unit.orchestration.conftest import House, SetClock

Contract = orchestrator_pb2.ModelContractOrchestrator
Output = orchestrator_pb2.ModelOrchestratorOutput
Step = orchestrator_pb2.WorkflowStep
ABORT = action_pb2.ACTION_TYPE_ABORT_WORKFLOW
DELEGATE = action_pb2.ACTION_TYPE_DELEGATE_TASK
CANCELLED = orchestrator_pb2.WORKFLOW_STATUS_CANCELLED
COMPLETED = orchestrator_pb2.WORKFLOW_STATUS_COMPLETED
RUNNING = orchestrator_pb2.WORKFLOW_STATUS_RUNNING


def effects(*names: str) -> Contract:
    """A workflow of these effect steps, one after another."""
    config = orchestrator_pb2.WorkflowConfig(
        coordination_type=orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
    )
    for name in names:
        step = config.steps.add(step_id=name, target_node="effect/main")
        step.effect.external_service_config.service_name = name
        step.effect.io_operation_config.operation.file.path = "a.txt"
        step.effect.io_operation_config.operation.file.read.SetInParent()
    return Contract(
        correlation_id=str(uuid.uuid4()), workflow_id=f"w-{uuid.uuid4()}", workflow_config=config
    )


def action(
    lease: LeaseClaim, kind: action_pb2.ActionType.ValueType
) -> orchestrator_pb2.ExecuteActionRequest:
    request = orchestrator_pb2.ExecuteActionRequest(
        workflow_id=lease.workflow_id, fence=lease.fence, lease_token=lease.token
    )
    one = request.action
    one.action_id = str(uuid.uuid4())
    one.action_type = kind
    one.lease_id = lease.lease_id
    one.correlation_id = str(uuid.uuid4())
    one.issued_at.GetCurrentTime()
    one.target_node = "orchestrator"
    if kind == DELEGATE:
        one.target_node = "compute"
        one.command_payload.compute.algorithm_config.algorithm_type = "task"
        one.command_payload.compute.input_data.CopyFrom(data.pack("x"))
    return request


def apart(work: Awaitable[object]) -> asyncio.Task[object]:
    """Runs a call of somebody outside: it takes nothing from the call that the test serves."""

    async def run() -> object:
        return await work

    return asyncio.create_task(run(), context=contextvars.Context())


async def run(house: House, contract: Contract) -> Output:
    return await house.orchestrator.ExecuteOrchestration(contract)


async def status_of(house: House, contract: Contract) -> orchestrator_pb2.WorkflowStatus.ValueType:
    state, _ = await read_state(house.store, contract.workflow_id)
    return state.status


def lease_of(house: House, name: str) -> LeaseClaim:
    lease = house.script.seen[name].lease
    assert lease is not None
    return lease


async def test_an_abort_is_not_overwritten_by_a_fold_that_comes_after_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = effects("a", "b")
    gate = house.script.gate("a")
    folded = asyncio.Event()
    commit = house.store.commit

    async def commit_in_turn(change: Commit) -> Committed | Replayed:
        try:
            return await commit(change)
        finally:
            if change.kind == "ACTION_TYPE_ABORT_WORKFLOW":
                # Durable, but its executor has not heard yet: a result arrives in between.
                gate.set()
                await folded.wait()
            else:
                folded.set()

    monkeypatch.setattr(house.store, "commit", commit_in_turn)
    running = asyncio.create_task(run(house, contract))
    await house.script.entered["a"].wait()
    await apart(house.orchestrator.ExecuteAction(action(lease_of(house, "a"), ABORT)))
    output = await running
    assert output.orchestration_result.status == CANCELLED
    assert await status_of(house, contract) == CANCELLED
    assert house.script.calls["b"] == 0


async def test_an_action_loses_no_result_that_is_folded_beside_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = effects("a", "b")
    gate = house.script.gate("a")
    held = house.script.gate("b")
    folded = asyncio.Event()
    commit = house.store.commit

    async def commit_in_turn(change: Commit) -> Committed | Replayed:
        if change.kind == "ACTION_TYPE_ABORT_WORKFLOW":
            # It has read the state; now another result becomes part of it.
            gate.set()
            await folded.wait()
            return await commit(change)
        written = await commit(change)
        folded.set()
        return written

    monkeypatch.setattr(house.store, "commit", commit_in_turn)
    running = asyncio.create_task(run(house, contract))
    await house.script.entered["a"].wait()
    await apart(house.orchestrator.ExecuteAction(action(lease_of(house, "a"), ABORT)))
    output = await running
    assert output.orchestration_result.status == CANCELLED
    assert [r.step_id for r in output.orchestration_result.step_results] == ["a"]
    held.set()


async def test_a_workflow_that_ended_just_before_it_was_taken_up_is_not_run(
    house: House,
    successor: Callable[[], AbstractAsyncContextManager[House]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    contract = effects("a", "b")
    house.script.gate("a")
    waiting = asyncio.create_task(run(house, contract))
    await house.script.entered["a"].wait()
    former = lease_of(house, "a")
    acquire = house.store.acquire_lease

    async def acquire_late(request: LeaseRequest) -> LeaseGrant:
        # The former holder's last write, on its way while the state was being read.
        state, _ = await read_state(house.store, contract.workflow_id)
        state.status = CANCELLED
        guard = Guard(former.workflow_id, former.lease_id, former.fence)
        key, kind = workflow_key(contract.workflow_id), "onex.v1.WorkflowState"
        last = Commit(key, FenceOnly(), state.SerializeToString(), kind, guard)
        await house.store.commit(replace(last, open=False))
        return await acquire(request)

    monkeypatch.setattr(house.store, "acquire_lease", acquire_late)
    async with successor() as house_after:
        with pytest.raises(NodeUnavailableError):
            await waiting
        output = await run(house_after, contract)
    assert output.orchestration_result.status == CANCELLED
    assert house.script.calls == {"a": 1}
    last = await house.store.get_lease(contract.workflow_id)
    assert last.remaining_us == 0


async def test_what_another_holder_delegated_meanwhile_does_not_stop_the_workflow(
    house: House, clock: SetClock
) -> None:
    contract = effects("a", "b")
    gate = house.script.gate("a")
    running = asyncio.create_task(run(house, contract))
    await house.script.entered["a"].wait()
    clock.advance(60)
    request = lease_pb2.AcquireLeaseRequest(
        workflow_id=contract.workflow_id, holder="other", request_id=str(uuid.uuid4())
    )
    lease = (await house.leases.AcquireLease(request)).lease
    delegated = action(lease_of(house, "a"), DELEGATE)
    delegated.fence, delegated.lease_token = lease.fence, lease.token
    delegated.action.lease_id = lease.lease_id
    await apart(house.orchestrator.ExecuteAction(delegated))
    await house.leases.ReleaseLease(
        lease_pb2.ReleaseLeaseRequest(
            workflow_id=lease.workflow_id, lease_id=lease.lease_id, fence=lease.fence
        )
    )
    gate.set()
    output = await running
    assert output.orchestration_result.status == COMPLETED
    assert [r.step_id for r in output.orchestration_result.step_results] == ["a", "b"]


async def test_a_node_that_the_next_process_does_not_know_fails_no_workflow(
    house: House, successor: Callable[[], AbstractAsyncContextManager[House]]
) -> None:
    contract = effects("a")
    gate = house.script.gate("a")
    waiting = asyncio.create_task(run(house, contract))
    await house.script.entered["a"].wait()
    node = house.addresses.pop("effect/main")
    async with successor() as mistaken:
        with pytest.raises(NodeUnavailableError):
            await waiting
        asked = asyncio.create_task(run(mistaken, contract))
        async with asyncio.timeout(10):
            while not (pending := await house.store.list_pending(contract.workflow_id)):
                pass
        told = error_pb2.ErrorDetail.FromString(pending[0].error)
        assert told.reason == "TARGET_NOT_FOUND"
        assert await status_of(house, contract) == RUNNING
    with pytest.raises(NodeUnavailableError):
        await asked
    house.addresses["effect/main"] = node
    gate.set()
    async with successor() as mended:
        output = await run(mended, contract)
    assert output.orchestration_result.status == COMPLETED


async def test_a_refused_lease_ends_the_term_and_not_the_workflow(house: House) -> None:
    contract = effects("a")
    house.script.errors["a"] = [LeaseValidationError("its fence belongs to another lease_id")]
    output = await run(house, contract)
    assert output.orchestration_result.status == COMPLETED
    assert house.script.calls["a"] == 2


async def test_who_waits_while_the_node_stops_is_told_to_ask_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    async def stall(request: LeaseRequest, start: Commit) -> Started | Replayed:
        begun.set()
        await never.wait()
        raise AssertionError

    monkeypatch.setattr(house.store, "acquire_and_start", stall)
    waiting = asyncio.create_task(run(house, effects("a")))
    await begun.wait()
    await house.node.stop()
    with pytest.raises(NodeUnavailableError, match="draining"):
        await waiting


async def test_an_action_that_the_stop_interrupts_is_to_be_sent_again(house: House) -> None:
    request = lease_pb2.AcquireLeaseRequest(
        workflow_id="w", holder="other", request_id=str(uuid.uuid4())
    )
    lease = (await house.leases.AcquireLease(request)).lease
    await start_by_hand(house, lease)
    house.script.gate("task")
    delegated = orchestrator_pb2.ExecuteActionRequest(
        workflow_id="w", fence=lease.fence, lease_token=lease.token
    )
    one = delegated.action
    one.action_id, one.correlation_id = str(uuid.uuid4()), str(uuid.uuid4())
    one.action_type, one.lease_id, one.target_node = DELEGATE, lease.lease_id, "compute"
    one.issued_at.GetCurrentTime()
    one.command_payload.compute.algorithm_config.algorithm_type = "task"
    one.command_payload.compute.input_data.CopyFrom(data.pack("x"))
    waiting = apart(house.orchestrator.ExecuteAction(delegated))
    await house.script.entered["task"].wait()
    await house.node.stop()
    with pytest.raises(NodeUnavailableError):
        await waiting


async def test_the_next_holder_does_not_pay_for_the_former_ones_lease(
    house: House, clock: SetClock
) -> None:
    async def acquire(holder: str) -> LeaseClaim:
        asked = lease_pb2.AcquireLeaseRequest(
            workflow_id="w", holder=holder, request_id=str(uuid.uuid4())
        )
        lease = (await house.leases.AcquireLease(asked)).lease
        if not lease.epoch:
            await start_by_hand(house, lease)
        return LeaseClaim("w", lease.lease_id, lease.fence, lease.token)

    former = action(await acquire("former"), DELEGATE)
    gate = house.script.gate("task")
    late = apart(house.orchestrator.ExecuteAction(former))
    await house.script.entered["task"].wait()
    clock.advance(60)
    lease = await acquire("next")
    repeat = orchestrator_pb2.ExecuteActionRequest()
    repeat.CopyFrom(former)
    repeat.fence, repeat.lease_token = lease.fence, lease.token
    repeat.action.lease_id = lease.lease_id
    joined = apart(house.orchestrator.ExecuteAction(repeat))
    other = orchestrator_pb2.ExecuteActionRequest()
    other.CopyFrom(repeat)
    other.action.command_payload.compute.input_data.CopyFrom(data.pack("y"))
    with pytest.raises(AlreadyExistsError):
        await apart(house.orchestrator.ExecuteAction(other))
    gate.set()
    with pytest.raises(StaleFenceError):
        await late
    reply = await joined
    assert isinstance(reply, orchestrator_pb2.ExecuteActionResponse)
    assert reply.epoch == 2


async def test_nothing_passes_a_barrier_once_a_write_has_failed(house: House) -> None:
    journal = Journal(
        house.store,
        Guard("w", "never-issued", 1),
        orchestrator_pb2.WorkflowState(status=RUNNING),
        0,
        lambda error: None,
    )
    await house.store.acquire_lease(LeaseRequest("w", "other", 30_000_000, "r"))
    journal.fold(orchestrator_pb2.WorkflowStepResult(step_id="a"), None)
    ends = await asyncio.gather(
        journal.barrier(),
        journal.barrier(),
        journal.barrier_of_uncertain(),
        return_exceptions=True,
    )
    assert [type(end) for end in ends] == [LeaseValidationError] * 3
