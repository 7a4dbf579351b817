"""The audit trail of a workflow: its actions as messages, without the secrets of live leases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex.v1 import action_pb2, audit_pb2, error_pb2
from onex_grpc.errors import ContractValidationError, LeaseNotFoundError, Violation
from onex_grpc.store.history_message import timestamp

if TYPE_CHECKING:
    from onex_grpc.store.model import LoggedAction
    from onex_grpc.store.protocol import LeaseStore


async def ended_leases(store: LeaseStore, workflow_id: str) -> int:
    """The highest fence of a workflow whose lease has ended for good; its id is no secret."""
    try:
        last = await store.get_lease(workflow_id)
    except LeaseNotFoundError:
        return 0
    return last.fence if last.remaining_us == 0 else last.fence - 1


def page_position(page_token: str) -> int:
    """Where a page begins.

    Raises:
        ContractValidationError: the token is not one that a list gave.
    """
    if not page_token:
        return 0
    if not page_token.isascii() or not page_token.isdecimal() or len(page_token) > 18:
        raise ContractValidationError.of(
            Violation("page_token", "is not one that this list gave; start without one")
        )
    return int(page_token)


def action_message(logged: LoggedAction, ended: int) -> audit_pb2.AuditedAction:
    """An action as a message; `ended` is the highest fence whose lease has ended."""
    message = audit_pb2.AuditedAction(
        action_id=logged.action_id,
        action_type=action_pb2.ActionType.ValueType(logged.action_type),
        target_node=logged.target,
        status=action_pb2.ACTION_STATUS_COMPLETED,
        correlation_id=logged.correlation_id,
        parent_action_id=logged.parent_action_id,
        fence=logged.fence,
        holder=logged.holder,
        lease_id=logged.lease_id if logged.fence <= ended else "",
        epoch=logged.epoch,
        issued_at=timestamp(logged.issued_us),
        finished_at=timestamp(logged.finished_us),
    )
    if logged.basis is not None:
        message.basis = logged.basis
    if logged.error:
        message.status = action_pb2.ACTION_STATUS_FAILED
        message.error.CopyFrom(error_pb2.ErrorDetail.FromString(logged.error))
    return message
