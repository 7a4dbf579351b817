"""What the fields of answers tell, seen on a mesh in one process over real stores."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, ClassVar, TypeVar

import pytest

from onex.v1 import (
    action_pb2,
    compute_pb2,
    compute_pb2_grpc,
    effect_pb2,
    effect_pb2_grpc,
    error_pb2,
    event_pb2,
    event_pb2_grpc,
    intent_pb2,
    lease_pb2,
    lease_pb2_grpc,
    node_pb2,
    node_pb2_grpc,
    operation_pb2,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
)
from onex_grpc.context import CallContext, current_call, enter_call
from onex_grpc.contract.data import pack, unpack
from onex_grpc.effect import EventLogTarget, FilesTarget
from onex_grpc.errors import (
    AlgorithmNotFoundError,
    ContractValidationError,
    OnexError,
    StaleFenceError,
    Status,
    Violation,
)
from onex_grpc.node.compute import NodeCompute
from onex_grpc.node.effect import NodeEffect
from onex_grpc.node.orchestrator import NodeOrchestrator
from onex_grpc.rpc.status import error_detail, from_detail
from onex_grpc.serve.settings import Settings
from onex_grpc.testing.mesh import LocalMesh

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from onex_grpc.compute import AlgorithmRegistry, ComputeInput
    from onex_grpc.contract.data import JSON

ID = "0198c0de-0000-7000-8000-000000000001"


class Desk(NodeOrchestrator):
    descriptor = node_pb2.NodeDescriptor(name="desk", version="1.0.0")


class Sums(NodeCompute):
    descriptor = node_pb2.NodeDescriptor(name="sums", version="1.0.0")


class Tracing(NodeCompute):
    """Notes the trace in which it is called; its first call never ends."""

    descriptor = node_pb2.NodeDescriptor(name="tracing", version="1.0.0")
    seen: ClassVar[list[str]]
    begun: ClassVar[asyncio.Event]

    def register_algorithms(self, registry: AlgorithmRegistry) -> None:
        registry.register("trace", self.trace)

    async def trace(self, data: ComputeInput) -> JSON:
        call = current_call()
        self.seen.append(call.traceparent if call else "")
        if not self.begun.is_set():
            self.begun.set()
            await asyncio.Event().wait()
        return None


class Broken(NodeCompute):
    descriptor = node_pb2.NodeDescriptor(name="broken", version="1.0.0")

    def register_algorithms(self, registry: AlgorithmRegistry) -> None:
        registry.register("fail", self.fail)

    def fail(self, data: ComputeInput) -> JSON:
        raise OnexError("broken")


class Shelf(NodeEffect):
    descriptor = node_pb2.NodeDescriptor(name="shelf", version="1.0.0")


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[LocalMesh]:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    files = FilesTarget(root=str(tmp_path), allow=frozenset({"read", "write"}))
    log = EventLogTarget(topic="t")
    settings = Settings(targets={"files": files, "log": log})
    nodes = [Desk, Sums, Shelf]
    async with LocalMesh(nodes, settings=settings, state=tmp_path / "state") as running:
        yield running


P = TypeVar("P")


def proof(request: Callable[..., P], lease: lease_pb2.Lease) -> P:
    return request(workflow_id=lease.workflow_id, lease_id=lease.lease_id, fence=lease.fence)


async def test_leases(mesh: LocalMesh) -> None:
    stub = mesh.stub(lease_pb2_grpc.LeaseServiceStub, "orchestrator")
    request = lease_pb2.AcquireLeaseRequest(workflow_id="w", holder="h", request_id=ID)
    request.ttl.seconds = 20
    lease = (await stub.AcquireLease(request)).lease
    assert (lease.workflow_id, lease.holder, lease.epoch) == ("w", "h", 0)
    assert lease.fence > 0
    assert uuid.UUID(lease.lease_id).version
    assert lease.token.count(".") == 2
    assert (lease.ttl.seconds, lease.remaining.ToNanoseconds() > 0) == (20, True)
    renewed = (await stub.RenewLease(proof(lease_pb2.RenewLeaseRequest, lease))).lease
    assert (renewed.fence, renewed.lease_id) == (lease.fence, lease.lease_id)
    verified = await stub.VerifyLease(proof(lease_pb2.VerifyLeaseRequest, lease))
    assert (verified.epoch, 0 < verified.remaining.seconds <= 20) == (0, True)
    seen = (await stub.GetLease(lease_pb2.GetLeaseRequest(workflow_id="w"))).lease
    assert (seen.holder, seen.lease_id, seen.token) == ("h", "", "")
    released = await stub.ReleaseLease(proof(lease_pb2.ReleaseLeaseRequest, lease))
    assert released.epoch == 0
    key = (await stub.ListKeys(lease_pb2.ListKeysRequest())).keys[0]
    assert (len(key.ed25519), key.kid != "") == (32, True)


async def test_a_stolen_lease(mesh: LocalMesh) -> None:
    stub = mesh.stub(lease_pb2_grpc.LeaseServiceStub, "orchestrator")
    request = lease_pb2.AcquireLeaseRequest(workflow_id="w", holder="h", request_id=ID)
    lease = (await stub.AcquireLease(request)).lease
    wish = lease_pb2.StealLeaseRequest(
        workflow_id="w", holder="operator", request_id=ID, reason="h hangs"
    )
    stolen = (await stub.StealLease(wish)).lease
    assert stolen.fence > lease.fence
    assert (stolen.holder, stolen.token.count(".")) == ("operator", 2)
    with pytest.raises(StaleFenceError):
        await stub.RenewLease(proof(lease_pb2.RenewLeaseRequest, lease))
    again = (await stub.StealLease(wish)).lease
    assert (again.lease_id, again.fence) == (stolen.lease_id, stolen.fence)


async def test_events(mesh: LocalMesh) -> None:
    stub = mesh.stub(event_pb2_grpc.EventBusServiceStub, "orchestrator")
    published = []
    for number in (1, 2):
        event = event_pb2.Event(event_id=f"e{number}", topic="t", event_type="E", data=pack(number))
        answer = await stub.Publish(event_pb2.PublishRequest(event=event))
        published.append(answer.sequence)
    assert published[0] < published[1]
    call = stub.Subscribe(event_pb2.SubscribeRequest(topic="t", after_sequence=published[0]))
    started = await anext(aiter(call))
    assert started.started.head_sequence == published[1]
    assert started.started.expired_sequence == 0
    second = (await anext(aiter(call))).event
    assert (second.event_id, second.sequence) == ("e2", published[1])
    assert unpack(second.data) == 2.0
    assert second.published_at.seconds > 0
    call.cancel()


def reading(line: int, target: str = "files") -> effect_pb2.ModelContractEffect:
    contract = effect_pb2.ModelContractEffect(correlation_id=ID)
    contract.external_service_config.service_name = target
    file = contract.io_operation_config.operation.file
    file.path = "a.txt"
    file.read.line = line
    return contract


async def test_effects(mesh: LocalMesh) -> None:
    stub = mesh.stub(effect_pb2_grpc.EffectNodeServiceStub, "effect")
    first, second = [await stub.ExecuteEffect(reading(line)) for line in (1, 2)]
    assert [unpack(answer.operation_result) for answer in (first, second)] == ["one", "two"]
    assert first.correlation_id == ID
    assert (first.metadata.target, first.metadata.attempts) == ("files", 1)
    assert first.metadata.execution_time.ToNanoseconds() > 0
    keyed = reading(1)
    keyed.io_operation_config.idempotency_key = "write-1"
    keyed.io_operation_config.operation.file.write.content = b"new"
    answers = [await stub.ExecuteEffect(keyed) for _ in range(2)]
    assert [answer.metadata.replayed for answer in answers] == [False, True]
    assert unpack((await stub.ExecuteEffect(reading(0))).operation_result) == "new"


async def test_intents_at_once(mesh: LocalMesh) -> None:
    stub = mesh.stub(effect_pb2_grpc.EffectNodeServiceStub, "effect")
    operation = operation_pb2.EffectOperation(
        file=operation_pb2.FileOperation(path="b.txt", write=operation_pb2.FileWrite(content=b"x"))
    )
    request = effect_pb2.ExecuteIntentsRequest()
    for target in ("files", "nowhere"):
        request.intents.add(
            intent_id=str(uuid.uuid4()),
            intent_type=intent_pb2.INTENT_TYPE_FILE_OPERATION,
            target=target,
            payload=operation,
        )
    results = {r.intent_id: r async for r in stub.ExecuteIntents(request)}
    good, bad = (results[intent.intent_id] for intent in request.intents)
    assert good.status == intent_pb2.INTENT_STATUS_COMPLETED
    assert good.HasField("result")
    assert not good.HasField("error")
    assert bad.status == intent_pb2.INTENT_STATUS_FAILED
    assert (bad.error.reason, bad.HasField("result")) == ("TARGET_NOT_FOUND", False)


def computing(step_id: str, algorithm: str, *after: str) -> orchestrator_pb2.WorkflowStep:
    contract = compute_pb2.ModelContractCompute(input_data=pack([1, 2]))
    contract.algorithm_config.algorithm_type = algorithm
    return orchestrator_pb2.WorkflowStep(
        step_id=step_id, target_node="compute", compute=contract, depends_on=after
    )


async def test_workflows(mesh: LocalMesh) -> None:
    contract = orchestrator_pb2.ModelContractOrchestrator(
        correlation_id=ID, workflow_id="wf", initial_state=pack({"n": 1})
    )
    contract.workflow_config.coordination_type = orchestrator_pb2.WORKFLOW_COORDINATION_PARALLEL
    contract.workflow_config.steps.extend(
        (computing("a", "sum"), computing("b", "nope"), computing("c", "sum", "b"))
    )
    contract.conflict_resolution.continue_on_error = True
    stub = mesh.stub(orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator")
    output = await stub.ExecuteOrchestration(contract)
    assert (output.correlation_id, output.workflow_id) == (ID, "wf")
    assert uuid.UUID(output.lease_id).version
    result = output.orchestration_result
    assert result.status == orchestrator_pb2.WORKFLOW_STATUS_COMPLETED
    done, failed, left_out = result.step_results
    assert [step.step_id for step in result.step_results] == ["a", "b", "c"]
    assert (done.status, unpack(done.output)) == (orchestrator_pb2.STEP_STATUS_COMPLETED, 3.0)
    assert (done.attempts, left_out.attempts) == (1, 0)
    assert done.execution_time.ToNanoseconds() > 0
    assert failed.status == left_out.status == orchestrator_pb2.STEP_STATUS_SKIPPED
    assert failed.error.reason == "ALGORITHM_NOT_FOUND"
    figures = output.execution_metadata
    assert figures.total_steps == 3
    assert figures.success_rate == pytest.approx(1 / 3)
    assert figures.execution_time.ToNanoseconds() > 0
    assert figures.coordination_type == orchestrator_pb2.WORKFLOW_COORDINATION_PARALLEL
    workflows = mesh.stub(orchestrator_pb2_grpc.WorkflowServiceStub, "orchestrator")
    found = await workflows.GetWorkflow(orchestrator_pb2.GetWorkflowRequest(workflow_id="wf"))
    assert found.epoch == output.epoch > 1
    assert found.state.status == orchestrator_pb2.WORKFLOW_STATUS_COMPLETED
    assert unpack(found.state.data) == {"n": 1.0}
    assert {step.step_id for step in found.state.steps} == {"a", "b", "c"}
    assert found.state.execution_time == figures.execution_time


async def test_failed_workflow_keeps_its_error(mesh: LocalMesh) -> None:
    contract = orchestrator_pb2.ModelContractOrchestrator(workflow_id="bad")
    contract.workflow_config.coordination_type = orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
    contract.workflow_config.steps.append(computing("a", "nope"))
    stub = mesh.stub(orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator")
    with pytest.raises(OnexError):
        await stub.ExecuteOrchestration(contract)
    workflows = mesh.stub(orchestrator_pb2_grpc.WorkflowServiceStub, "orchestrator")
    found = await workflows.GetWorkflow(orchestrator_pb2.GetWorkflowRequest(workflow_id="bad"))
    assert found.state.status == orchestrator_pb2.WORKFLOW_STATUS_FAILED
    assert found.state.error.reason == "WORKFLOW_EXECUTION"


async def test_actions(mesh: LocalMesh) -> None:
    leases = mesh.stub(lease_pb2_grpc.LeaseServiceStub, "orchestrator")
    acquired = lease_pb2.AcquireLeaseRequest(workflow_id="x", holder="h", request_id=ID)
    lease = (await leases.AcquireLease(acquired)).lease
    request = orchestrator_pb2.ExecuteActionRequest(
        workflow_id="x", fence=lease.fence, lease_token=lease.token
    )
    action = request.action
    action.action_id = str(uuid.uuid4())
    action.action_type = action_pb2.ACTION_TYPE_START_WORKFLOW
    action.lease_id = lease.lease_id
    action.epoch = 0
    action.target_node = "orchestrator"
    action.issued_at.GetCurrentTime()
    action.command_payload.state.CopyFrom(pack("begun"))
    stub = mesh.stub(orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator")
    started = await stub.ExecuteAction(request)
    assert (started.action_id, started.epoch) == (action.action_id, 1)
    action.action_id = str(uuid.uuid4())
    action.action_type = action_pb2.ACTION_TYPE_DELEGATE_TASK
    action.ClearField("epoch")
    action.target_node = "compute"
    action.command_payload.compute.CopyFrom(computing("a", "sum").compute)
    delegated = await stub.ExecuteAction(request)
    assert delegated.status == action_pb2.ACTION_STATUS_COMPLETED
    assert (unpack(delegated.result), delegated.epoch) == (3.0, 2)


async def test_history_and_audit_trail(mesh: LocalMesh) -> None:
    leases = mesh.stub(lease_pb2_grpc.LeaseServiceStub, "orchestrator")
    stub = mesh.stub(orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator")
    workflows = mesh.stub(orchestrator_pb2_grpc.WorkflowServiceStub, "orchestrator")
    acquired = lease_pb2.AcquireLeaseRequest(workflow_id="x", holder="h", request_id=ID)
    lease = (await leases.AcquireLease(acquired)).lease
    request = orchestrator_pb2.ExecuteActionRequest(
        workflow_id="x", fence=lease.fence, lease_token=lease.token
    )
    action = request.action
    action.lease_id = lease.lease_id
    action.target_node = "orchestrator"
    action.correlation_id = action.parent_action_id = ID
    action.issued_at.GetCurrentTime()
    ids = []
    for number, kind in enumerate(("START_WORKFLOW", "CHECKPOINT_STATE", "UPDATE_STATE")):
        ids.append(str(uuid.uuid4()))
        action.action_id = ids[-1]
        action.action_type = action_pb2.ActionType.Value(f"ACTION_TYPE_{kind}")
        action.epoch = min(number, 1)
        if kind == "CHECKPOINT_STATE":
            action.command_payload.checkpoint.name = "good"
        else:
            action.command_payload.state.CopyFrom(pack(number))
        await stub.ExecuteAction(request)
    failing = orchestrator_pb2.ExecuteActionRequest()
    failing.CopyFrom(request)
    failing.action.action_id = str(uuid.uuid4())
    failing.action.action_type = action_pb2.ACTION_TYPE_DELEGATE_TASK
    failing.action.target_node = "compute"
    failing.action.ClearField("epoch")
    failing.action.command_payload.compute.CopyFrom(computing("a", "unknown").compute)
    with pytest.raises(AlgorithmNotFoundError):
        await stub.ExecuteAction(failing)

    history = orchestrator_pb2.ListWorkflowHistoryRequest(workflow_id="x")
    first, second = [answer.entry async for answer in workflows.ListHistory(history)]
    assert (first.version, first.kind) == (1, "ACTION_TYPE_START_WORKFLOW")
    assert list(first.checkpoints) == ["good"]
    assert (first.holder, first.fence, first.lease_id) == ("h", lease.fence, "")
    assert (first.action_id, first.parent_action_id) == (ids[0], ID)
    assert second.written_at.ToNanoseconds() >= first.written_at.ToNanoseconds() > 0
    state = unpack(second.state)
    assert isinstance(state, orchestrator_pb2.WorkflowState)
    assert unpack(state.data) == 2.0
    history.after_epoch = 1
    assert [a.entry.version async for a in workflows.ListHistory(history)] == [2]

    trail = orchestrator_pb2.ListActionsRequest(workflow_id="x", page_size=3)
    page = await workflows.ListActions(trail)
    assert [one.action_id for one in page.actions] == ids
    pinned = page.actions[1]
    assert pinned.action_type == action_pb2.ACTION_TYPE_CHECKPOINT_STATE
    assert (pinned.target_node, pinned.correlation_id) == ("orchestrator", ID)
    assert (pinned.parent_action_id, pinned.holder) == (ID, "h")
    assert (pinned.fence, pinned.lease_id) == (lease.fence, "")
    assert (pinned.basis, pinned.epoch) == (1, 1)
    assert pinned.status == action_pb2.ACTION_STATUS_COMPLETED
    assert (pinned.issued_at.seconds > 0, pinned.finished_at.seconds > 0) == (True, True)
    trail.page_token = page.next_page_token
    rest = await workflows.ListActions(trail)
    (failed,) = rest.actions
    assert (failed.status, rest.next_page_token) == (action_pb2.ACTION_STATUS_FAILED, "")
    assert (failed.error.reason, failed.HasField("basis")) == ("ALGORITHM_NOT_FOUND", False)
    trail.page_token = "x"
    with pytest.raises(ContractValidationError):
        await workflows.ListActions(trail)

    await leases.ReleaseLease(proof(lease_pb2.ReleaseLeaseRequest, lease))
    (last,) = [a.entry async for a in workflows.ListHistory(history)]
    assert last.lease_id == lease.lease_id
    assert (await workflows.ListActions(trail_of("x"))).actions[0].lease_id == lease.lease_id


def trail_of(workflow_id: str) -> orchestrator_pb2.ListActionsRequest:
    return orchestrator_pb2.ListActionsRequest(workflow_id=workflow_id)


def test_error_detail_tells_all() -> None:
    cause = AlgorithmNotFoundError("no such", node="compute/a", context={"k": "v"})
    error = OnexError("failed", causes=[cause], correlation_id=ID, node="orchestrator/b")
    detail = error_detail(error)
    assert (detail.correlation_id, detail.node, detail.message) == (ID, "orchestrator/b", "failed")
    assert (detail.reason, detail.status_code) == ("INTERNAL", Status.INTERNAL)
    below = detail.causes[0]
    assert (below.reason, dict(below.context)) == ("ALGORITHM_NOT_FOUND", {"k": "v"})
    assert below.status_code == Status.NOT_FOUND
    refused = ContractValidationError.of(Violation("amount", "must be above 0"))
    refused.retry_after = 2.5
    (fault,) = error_detail(refused).violations
    assert (fault.field, fault.description) == ("amount", "must be above 0")
    assert error_detail(refused).retry_after.ToMilliseconds() == 2500
    back = from_detail(error_pb2.ErrorDetail.FromString(detail.SerializeToString()))
    assert isinstance(back.causes[0], AlgorithmNotFoundError)


async def test_data_of_a_published_message(mesh: LocalMesh) -> None:
    contract = effect_pb2.ModelContractEffect()
    contract.external_service_config.service_name = "log"
    message = contract.io_operation_config.operation.message
    message.event_type = "E"
    message.data.CopyFrom(pack({"n": 1}))
    await mesh.stub(effect_pb2_grpc.EffectNodeServiceStub, "effect").ExecuteEffect(contract)
    bus = mesh.stub(event_pb2_grpc.EventBusServiceStub, "orchestrator")
    call = bus.Subscribe(event_pb2.SubscribeRequest(topic="t"))
    answers = aiter(call)
    await anext(answers)
    event = (await anext(answers)).event
    assert (event.event_type, unpack(event.data)) == ("E", {"n": 1.0})
    call.cancel()


async def test_error_rate_of_a_node(tmp_path: Path) -> None:
    async with LocalMesh([Broken], state=tmp_path) as mesh:
        about = mesh.stub(node_pb2_grpc.NodeServiceStub, "compute")
        compute = mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute")
        before = (await about.GetNodeHealth(node_pb2.GetNodeHealthRequest())).health
        for _ in range(20):
            with pytest.raises(OnexError):
                await compute.ExecuteCompute(computing("a", "fail").compute)
        after = (await about.GetNodeHealth(node_pb2.GetNodeHealthRequest())).health
    assert before.error_rate == 0.0
    assert after.error_rate > 0.9
    assert after.status == node_pb2.HEALTH_STATUS_DEGRADED


async def test_resumed_workflow_stays_in_its_trace(tmp_path: Path) -> None:
    Tracing.seen = []
    Tracing.begun = asyncio.Event()
    settings = Settings(drain_grace=0.1)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    contract = orchestrator_pb2.ModelContractOrchestrator(workflow_id="wf")
    config = contract.workflow_config
    config.coordination_type = orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
    config.steps.append(computing("a", "trace"))
    nodes = [Desk, Tracing]
    async with LocalMesh(nodes, settings=settings, state=tmp_path) as mesh:
        enter_call(CallContext(ID, traceparent=trace))
        stub = mesh.stub(orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator")
        running = asyncio.ensure_future(stub.ExecuteOrchestration(contract))
        await Tracing.begun.wait()
    await asyncio.gather(running, return_exceptions=True)
    enter_call(CallContext(ID))
    async with LocalMesh(nodes, settings=settings, state=tmp_path) as mesh:
        stub = mesh.stub(orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator")
        await stub.ExecuteOrchestration(contract)
    assert [seen.split("-")[1] for seen in Tracing.seen] == [trace.split("-")[1]] * 2
