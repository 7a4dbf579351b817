"""What does not change about a workflow while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onex.v1 import action_pb2, orchestrator_pb2
from onex_grpc.action.ids import start_action_id
from onex_grpc.action.state import WORKFLOW_STATE
from onex_grpc.contract.canonical import canonical_digest
from onex_grpc.errors import AlreadyExistsError
from onex_grpc.store.keys import workflow_key
from onex_grpc.store.model import ActionRecord, Commit, Exact

if TYPE_CHECKING:
    from onex_grpc.store.model import RecordedAction
    from onex_grpc.workflow.course import Course


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow as it was asked for.

    Attributes:
        contract: the contract; never changed.
        course: what it does.
        content: the digest by which a repeat is told from another workflow of the same id.
        traceparent: the trace that its spans belong to.
        started_us: when it was asked for, in microseconds since the Unix epoch.
    """

    contract: orchestrator_pb2.ModelContractOrchestrator
    course: Course
    content: bytes
    traceparent: str
    started_us: int

    @property
    def workflow_id(self) -> str:
        """The id, unique for all time."""
        return self.contract.workflow_id

    @property
    def correlation_id(self) -> str:
        """The correlation id of every call that the workflow makes."""
        return self.contract.correlation_id


def workflow_content(contract: orchestrator_pb2.ModelContractOrchestrator) -> bytes:
    """SHA-256 over graph, failure policy and input: what a repeat must have in common.

    The correlation id is none of it: it names the call that asked first.
    """
    content = orchestrator_pb2.ModelContractOrchestrator(
        workflow_config=contract.workflow_config if contract.HasField("workflow_config") else None,
        conflict_resolution=contract.conflict_resolution
        if contract.HasField("conflict_resolution")
        else None,
        initial_state=contract.initial_state if contract.HasField("initial_state") else None,
    )
    return canonical_digest(content)


def initial_state(workflow: Workflow) -> orchestrator_pb2.WorkflowState:
    """The state at the beginning."""
    contract = workflow.contract
    return orchestrator_pb2.WorkflowState(
        status=orchestrator_pb2.WORKFLOW_STATUS_RUNNING,
        data=contract.initial_state if contract.HasField("initial_state") else None,
    )


def start_commit(workflow: Workflow, state: orchestrator_pb2.WorkflowState) -> Commit:
    """The first change of a workflow, with all that another process needs to go on with it."""
    record = orchestrator_pb2.WorkflowRecord(
        contract=workflow.contract, traceparent=workflow.traceparent
    )
    action = ActionRecord(
        scope=workflow.workflow_id,
        action_id=start_action_id(workflow.workflow_id),
        content_hash=workflow.content,
        action_type=action_pb2.ACTION_TYPE_START_WORKFLOW,
        target="orchestrator",
        correlation_id=workflow.correlation_id,
        issued_us=workflow.started_us,
        epoch=0,
        request=record.SerializeToString(),
    )
    return Commit(
        key=workflow_key(workflow.workflow_id),
        expect=Exact(0),
        state=state.SerializeToString(),
        state_type=WORKFLOW_STATE,
        kind="ACTION_TYPE_START_WORKFLOW",
        actions=(action,),
        open=True,
    )


def recorded_contract(recorded: RecordedAction) -> orchestrator_pb2.WorkflowRecord:
    """What start_commit kept."""
    return orchestrator_pb2.WorkflowRecord.FromString(recorded.request)


def other_workflow(workflow_id: str) -> AlreadyExistsError:
    """The refusal of a workflow id that was used before for something else."""
    return AlreadyExistsError(
        f"workflow {workflow_id} was begun with another content; take an id of its own",
        context={"workflow_id": workflow_id},
    )
