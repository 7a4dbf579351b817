"""Errors as messages: for the wire, for stores and for the outputs of nodes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from onex.v1 import error_pb2
from onex_grpc import carriable, errors
from onex_grpc.errors import OnexError, Status, Violation
from onex_grpc.onex_error import (
    DEEPEST,
    MOST_CAUSES,
    MOST_ERRORS,
    carried_reason,
    faults,
    few_causes,
    keep_status,
    left_out,
    revive,
    stands_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)

MOST_BYTES: Final = 16 * 1024
"""Most that the message of an error may hold: a small part of any message that it may stand in."""

# Levels of causes, causes of each, and bytes of their texts, from the most to the least that is
# told. The first cause stays longest: it led to the failure.
_CUTS: Final = (
    *((8, 16, 1024), (8, 16, 256), (3, 8, 256), (2, 3, 256), (1, 3, 256)),
    *((1, 1, 256), (0, 0, 0)),
)
_SHORTEST: Final = 256
_KNOWN: Final = frozenset(status.value for status in Status if status)
_BY_STATUS: Final[dict[Status, type[OnexError]]] = {
    Status.CANCELLED: errors.CallCancelledError,
    Status.INVALID_ARGUMENT: errors.ContractValidationError,
    Status.DEADLINE_EXCEEDED: errors.DeadlineExceededError,
    Status.NOT_FOUND: errors.NotFoundError,
    Status.ALREADY_EXISTS: errors.AlreadyExistsError,
    Status.PERMISSION_DENIED: errors.OperationRefusedError,
    Status.RESOURCE_EXHAUSTED: errors.ResourceExhaustedError,
    Status.UNAVAILABLE: errors.UnavailableError,
    Status.UNIMPLEMENTED: errors.UnimplementedError,
}


class ForeignError(OnexError):
    """Raised for a failure whose reason this process has no class for; it keeps its status.

    Attributes:
        foreign_reason: the reason that came over the wire; empty where there was none.
    """

    def __init__(self, message: str, status: Status, foreign_reason: str = "") -> None:
        super().__init__(message)
        self.foreign_reason = foreign_reason
        keep_status(self, status)


def reason_of(error: OnexError) -> str:
    """Return the reason that goes onto the wire: the nearest one that is text."""
    own = vars(error)
    told = carried_reason(own.get("foreign_reason")) or carried_reason(own.get("reason"))
    kinds = iter(type(error).__mro__)
    while not told:
        told = carried_reason(vars(next(kinds)).get("reason"))
    return told


def is_bare(error: OnexError) -> bool:
    """Return True for a status that came without the mesh's ErrorInfo, and for a call that was
    broken off on this side: no node has said it.
    """
    if isinstance(error, ForeignError):
        return not error.foreign_reason
    return isinstance(error, errors.CallCancelledError) and not error.node


def error_detail(
    error: OnexError, *, correlation_id: str = "", node: str = ""
) -> error_pb2.ErrorDetail:
    """Return an error with its causes as a message of at most `MOST_BYTES`; never raises.

    Args:
        error: what failed.
        correlation_id: that of the call; the error's own where it is empty.
        node: where it is recorded, for an error that does not say where it arose.
    """
    detail = _detail(error, DEEPEST, iter(range(MOST_ERRORS)))
    detail.correlation_id = carriable.name(correlation_id) or detail.correlation_id
    detail.node = detail.node or carriable.name(node)
    fit(detail, MOST_BYTES)
    return detail


def _detail(error: OnexError, levels: int, room: Iterator[int]) -> error_pb2.ErrorDetail:
    try:
        detail = _alone(error)
    except Exception:
        kind = type(error).__name__
        _log.exception("a %s cannot be written, since its own code fails", kind)
        detail = error_pb2.ErrorDetail(
            reason=reason_of(error),
            message=carriable.text(f"{kind}: its own code fails, as the log of its node shows"),
            status_code=Status.INTERNAL,
        )
    few = few_causes(error, levels, room)
    detail.causes.extend(_detail(cause, levels - 1, room) for cause in few)
    return detail


def _alone(error: OnexError) -> error_pb2.ErrorDetail:
    """Return an error without its causes."""
    # Made fit once more: a context may have been changed, an attribute may be a user's property.
    detail = error_pb2.ErrorDetail(
        correlation_id=carriable.name(error.correlation_id),
        node=carriable.name(error.node),
        reason=reason_of(error),
        message=carriable.text(error.message),
        context=carriable.facts(error.context),
        status_code=Status(error.status),
        violations=[
            error_pb2.FieldFault(field=v.field, description=v.description)
            for v in faults(error.violations)
        ],
    )
    delay = carriable.seconds(error.retry_after)
    if delay is not None:
        detail.retry_after.FromNanoseconds(round(delay * 1e9))
    return detail


def bound(detail: error_pb2.ErrorDetail) -> None:
    """Cut what others wrote to the size and the depth of what the SDK writes, in place."""
    _prune(detail, DEEPEST)
    fit(detail, MOST_BYTES)


def _prune(detail: error_pb2.ErrorDetail, levels: int) -> None:
    del detail.causes[(MOST_CAUSES if levels else 0) :]
    for cause in detail.causes:
        _prune(cause, levels - 1)


def fit(detail: error_pb2.ErrorDetail, limit: int) -> None:
    """Cut an error's message to a number of bytes, 1 KiB at least, in place."""
    if detail.ByteSize() <= limit:
        return
    part = limit // 4
    detail.message = carriable.text(detail.message, max(part, _SHORTEST))
    _keep_few_facts(detail, part)
    _keep_few_violations(detail, part)
    for levels, causes, size in _CUTS:
        if detail.ByteSize() <= limit:
            return
        _shrink_causes(detail, levels, causes, size)


def _shrink_causes(detail: error_pb2.ErrorDetail, levels: int, causes: int, size: int) -> None:
    del detail.causes[(causes if levels else 0) :]
    for cause in detail.causes:
        cause.message = carriable.text(cause.message, size)
        cause.ClearField("context")
        cause.ClearField("violations")
        _shrink_causes(cause, levels - 1, causes, size)


def _keep_few_facts(detail: error_pb2.ErrorDetail, room: int) -> None:
    facts = sorted(detail.context.items(), key=lambda fact: len(fact[1]))
    detail.ClearField("context")
    for key, value in facts:
        room -= len(key.encode()) + len(value.encode())
        if room < 0:
            key, value = carriable.MORE_FACTS
        detail.context[key] = value
        if room < 0:
            return


def _keep_few_violations(detail: error_pb2.ErrorDetail, room: int) -> None:
    found = [(v.field, v.description) for v in detail.violations]
    detail.ClearField("violations")
    for place, (field, description) in enumerate(found):
        kept = detail.violations.add(
            field=carriable.text(field, 128), description=carriable.text(description, _SHORTEST)
        )
        room -= kept.ByteSize()
        if room < 0 and place + 1 < len(found):
            left = sum(stands_for(description) for _, description in found[place + 1 :])
            detail.violations.add(description=left_out(left).description)
            return


def from_detail(detail: error_pb2.ErrorDetail, status: Status = Status.UNKNOWN) -> OnexError:
    """Return the error that a message describes, as the class that was raised if there is one here.

    Args:
        detail: the message.
        status: of an error that does not tell its own.
    """
    if detail.status_code in _KNOWN:
        status = Status(detail.status_code)
    error = make_error(detail.reason, status, detail.message)
    error.correlation_id = detail.correlation_id
    error.node = detail.node
    error.context = detail.context
    error.causes = [from_detail(cause) for cause in detail.causes]
    error.violations = [Violation(v.field, v.description) for v in detail.violations]
    if detail.HasField("retry_after"):
        error.retry_after = detail.retry_after.ToNanoseconds() / 1e9
    if error.status is not status:
        keep_status(error, status)
    return error


def make_error(reason: str, status: Status, message: str) -> OnexError:
    """Return an error of the class with this reason, or without one, of the one for this status."""
    found = _class_of(reason, status)
    if found is None or found is OnexError:
        # One without a reason is no answer of a node.
        is_plain = status is OnexError.default_status and reason == OnexError.reason
        return OnexError(message) if is_plain else ForeignError(message, status, reason)
    # A user's class may want other arguments than a message.
    error = revive(found, ())
    OnexError.__init__(error, message)
    return error


def _class_of(reason: str, status: Status) -> type[OnexError] | None:
    if not reason:
        return _BY_STATUS.get(status)
    first = None
    for found in errors.error_classes(reason):
        # Of several with one reason, such as a user's and ours, the one that has this status too.
        if found.default_status == status:
            return found
        first = first or found
    return first
