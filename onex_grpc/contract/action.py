"""Digests of content, by which a repeat is told from another command with the same id."""

from __future__ import annotations

from onex.v1 import action_pb2, reducer_pb2
from onex_grpc.contract.canonical import canonical_digest


def content_hash(action: action_pb2.ModelAction) -> bytes:
    """SHA-256 over what an action is, without what differs when a new holder repeats it.

    Content is action_type, target_node, command_payload, correlation_id and parent_action_id; not
    lease, epoch and every time, that of a reducer's command included.
    """
    content = action_pb2.ModelAction(
        action_type=action.action_type,
        target_node=action.target_node,
        command_payload=action.command_payload if action.HasField("command_payload") else None,
        correlation_id=action.correlation_id,
        parent_action_id=action.parent_action_id,
    )
    if content.command_payload.WhichOneof("command") == "reducer":
        content.command_payload.reducer.ClearField("issued_at")
    return canonical_digest(content)


def reduction_hash(contract: reducer_pb2.ModelContractReducer) -> bytes:
    """SHA-256 over what a reduction is: all of it but its action_id and time, and the correlation
    id, which names the call that asked first.
    """
    content = reducer_pb2.ModelContractReducer()
    content.CopyFrom(contract)
    content.ClearField("issued_at")
    content.ClearField("action_id")
    content.ClearField("correlation_id")
    return canonical_digest(content)
