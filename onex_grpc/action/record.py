"""What the store keeps of an action, and what a repeat gets of it."""

from __future__ import annotations

from onex.v1 import action_pb2, error_pb2, orchestrator_pb2
from onex_grpc.action.state import WORKFLOW_STATE
from onex_grpc.errors import AlreadyExistsError
from onex_grpc.rpc.status import from_detail
from onex_grpc.store.keys import workflow_key
from onex_grpc.store.model import (
    ActionRecord,
    Checkpoint,
    Commit,
    Exact,
    LeaseGrant,
    RecordedAction,
    Rollback,
)

Request = orchestrator_pb2.ExecuteActionRequest
Response = orchestrator_pb2.ExecuteActionResponse


def issued_us(action: action_pb2.ModelAction) -> int:
    """Return when the holder issued an action; what is before the epoch counts as at its start."""
    return max(1, action.issued_at.ToMicroseconds())


def record_of(request: Request, grant: LeaseGrant, content: bytes) -> ActionRecord:
    """The entry of an admitted action; `content` is its content_hash."""
    action = request.action
    return ActionRecord(
        scope=request.workflow_id,
        action_id=action.action_id,
        content_hash=content,
        action_type=action.action_type,
        target=action.target_node,
        correlation_id=action.correlation_id,
        issued_us=action.issued_at.ToMicroseconds(),
        fence=grant.fence,
        epoch=action.epoch if action.HasField("epoch") else None,
        lease_id=grant.lease_id,
        parent_action_id=action.parent_action_id,
        # For the audit: its metadata stands nowhere else.
        request=action.SerializeToString(),
    )


def commit_of(
    request: Request,
    grant: LeaseGrant,
    record: ActionRecord,
    state: orchestrator_pb2.WorkflowState,
    expect: Exact,
    reply: bytes,
) -> Commit:
    """The commit of an action, of the state that it led to, and of the reply for repeats."""
    return Commit(
        key=workflow_key(request.workflow_id),
        expect=expect,
        state=state.SerializeToString(),
        state_type=WORKFLOW_STATE,
        guard=grant.guard,
        kind=action_pb2.ActionType.Name(record.action_type),  # type: ignore[arg-type]
        actions=(record,),
        reply=reply,
    )


def checkpoint_of(
    request: Request, grant: LeaseGrant, record: ActionRecord, reply: bytes
) -> Checkpoint:
    """The checkpoint that a CHECKPOINT_STATE asks for."""
    return Checkpoint(
        key=workflow_key(request.workflow_id),
        name=request.action.command_payload.checkpoint.name,
        expect=Exact(request.action.epoch),
        guard=grant.guard,
        actions=(record,),
        reply=reply,
    )


def rollback_of(
    request: Request, grant: LeaseGrant, record: ActionRecord, reply: bytes
) -> Rollback:
    """The rollback that a ROLLBACK_STATE asks for."""
    command = request.action.command_payload.rollback
    return Rollback(
        key=workflow_key(request.workflow_id),
        to=command.epoch if command.HasField("epoch") else command.checkpoint,
        expect=Exact(request.action.epoch),
        guard=grant.guard,
        kind=action_pb2.ActionType.Name(record.action_type),  # type: ignore[arg-type]
        actions=(record,),
        reply=reply,
    )


def other_content(request: Request) -> AlreadyExistsError:
    """The refusal of an id that was used before for something else."""
    return AlreadyExistsError(
        f"action {request.action.action_id} of workflow {request.workflow_id} is known with other"
        " content; issue a new action with an id of its own",
        context={"workflow_id": request.workflow_id, "action_id": request.action.action_id},
    )


def replay(request: Request, content: bytes, known: RecordedAction) -> Response:
    """The recorded reply of a known action.

    Raises:
        AlreadyExistsError: when its content was another, or it has no reply of its own.
        OnexError: the recorded failure.
    """
    if not known.reply and not known.error:
        # The engine's own steps: their results are in the workflow's state, not in replies.
        raise AlreadyExistsError(
            f"action {request.action.action_id} is a step of workflow {request.workflow_id};"
            " read its result with GetWorkflow"
        )
    if known.content_hash != content:
        raise other_content(request)
    if known.error:
        raise from_detail(error_pb2.ErrorDetail.FromString(known.error))
    response = Response.FromString(known.reply)
    response.epoch = known.epoch
    return response
