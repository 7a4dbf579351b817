"""Errors of the mesh as the wire carries them: google.rpc.Status with ErrorInfo, ErrorDetail and,
where they fit, BadRequest and RetryInfo.

Source: https://cloud.google.com/apis/design/errors and google/rpc/error_details.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2 as rpc_details
from google.rpc import status_pb2

from onex.v1 import error_pb2
from onex_grpc import errors
from onex_grpc.errors import OnexError, Status, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

DOMAIN: Final = "onex"
DETAILS_KEY: Final = "grpc-status-details-bin"
MAX_BYTES: Final = 4096
"""Most that the details of an error may hold: clients start to refuse at 8 KiB of metadata, and
what is binary grows by a third on the wire."""

CODES: Final = {Status(code.value[0]): code for code in grpc.StatusCode}
_MAX_MESSAGE: Final = 1024
# Levels of causes, and causes of each, from the most to the least that is told. The first cause
# stays longest: a failed workflow has its status.
_CUTS: Final = ((3, 8), (2, 3), (1, 3), (1, 1), (0, 0))
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
        self._status = status

    @property
    def status(self) -> Status:
        """The status that came over the wire."""
        return self._status


class WireStatus(NamedTuple):
    """An error as a call ends with it."""

    code: grpc.StatusCode
    message: str
    trailing_metadata: tuple[tuple[str, bytes], ...]


def reason_of(error: OnexError) -> str:
    """The reason that goes onto the wire."""
    foreign = error.foreign_reason if isinstance(error, ForeignError) else ""
    return foreign or error.reason


def is_bare(error: OnexError) -> bool:
    """Return True for a status that came without the mesh's ErrorInfo, and for a call that was
    broken off on this side: no node has said it.
    """
    if isinstance(error, ForeignError):
        return not error.foreign_reason
    return isinstance(error, errors.CallCancelledError) and not error.node


def causes_of(error: OnexError) -> tuple[OnexError, ...]:
    """The causes of an error; the one it was raised from where it names none."""
    if error.causes or not isinstance(error.__cause__, OnexError):
        return error.causes
    return (error.__cause__,)


def error_detail(error: OnexError) -> error_pb2.ErrorDetail:
    """An error with its causes as a message, for outputs and stores."""
    return error_pb2.ErrorDetail(
        correlation_id=error.correlation_id,
        node=error.node,
        reason=reason_of(error),
        message=error.message,
        context=error.context,
        causes=[error_detail(cause) for cause in causes_of(error)],
        status_code=error.status,
    )


def from_detail(detail: error_pb2.ErrorDetail) -> OnexError:
    """The error that a message describes, as the class that was raised if this process has it."""
    known = {status.value for status in Status if status}
    status = Status(detail.status_code) if detail.status_code in known else Status.UNKNOWN
    error = _make(detail.reason, status, detail.message)
    error.correlation_id = detail.correlation_id
    error.node = detail.node
    error.context = dict(detail.context)
    error.causes = tuple(from_detail(cause) for cause in detail.causes)
    if error.status is not status and isinstance(error, errors.WorkflowExecutionError):
        # Its status is that of its first cause, which did not fit into the metadata.
        error.causes = (ForeignError("the causes were too long to be sent", status),)
    return error


def _make(reason: str, status: Status, message: str) -> OnexError:
    found = errors.error_class(reason) if reason else _BY_STATUS.get(status)
    if found is None or found is OnexError:
        is_plain = status is OnexError.default_status and reason == OnexError.reason
        return OnexError(message) if is_plain else ForeignError(message, status, reason)
    # A user's class may want other arguments than a message.
    error = found.__new__(found)
    OnexError.__init__(error, message)
    return error


def to_status(error: OnexError) -> WireStatus:
    """An error as a call ends with it: all of it where it fits, else cut and saying so."""
    message = _shortened(error.message, _MAX_MESSAGE)
    proto = status_pb2.Status(code=error.status, message=message)
    detail = error_detail(error)
    info = rpc_details.ErrorInfo(reason=reason_of(error), domain=DOMAIN, metadata=error.context)
    extra = tuple(_extra_details(error))
    _pack(proto, (info, detail, *extra))
    if proto.ByteSize() > MAX_BYTES:
        info.ClearField("metadata")
        for levels, causes in _CUTS:
            _shrink(detail, levels=levels, causes=causes)
            _pack(proto, (info, detail, *(_fewer(d) for d in extra)))
            if proto.ByteSize() <= MAX_BYTES:
                break
    return WireStatus(CODES[error.status], message, ((DETAILS_KEY, proto.SerializeToString()),))


def _pack(proto: status_pb2.Status, details: Iterable[Message]) -> None:
    packed = list(details)
    del proto.details[:]
    for detail in packed:
        proto.details.add().Pack(detail)


def _extra_details(error: OnexError) -> Iterable[Message]:
    if error.violations:
        yield rpc_details.BadRequest(
            field_violations=[
                rpc_details.BadRequest.FieldViolation(field=v.field, description=v.description)
                for v in error.violations
            ]
        )
    if error.retry_after is not None:
        delay = Duration()
        delay.FromNanoseconds(round(max(0.0, error.retry_after) * 1e9))
        yield rpc_details.RetryInfo(retry_delay=delay)


def _shortened(text: str, limit: int) -> str:
    # grpc-message is percent-encoded UTF-8: what is not ASCII takes three times its bytes.
    if len(text.encode()) <= limit:
        return text
    return text.encode()[: limit - 3].decode(errors="ignore") + "..."


def _shrink(detail: error_pb2.ErrorDetail, *, levels: int, causes: int) -> None:
    """Cuts texts, drops context, and keeps the first causes of so many levels."""
    detail.message = _shortened(detail.message, 256)
    detail.ClearField("context")
    del detail.causes[(causes if levels else 0) :]
    for cause in detail.causes:
        _shrink(cause, levels=levels - 1, causes=causes)


def _fewer(detail: Message) -> Message:
    """As many violations as fit into half of the room, and a word about the others."""
    if not isinstance(detail, rpc_details.BadRequest):
        return detail
    kept = rpc_details.BadRequest()
    for violation in detail.field_violations:
        kept.field_violations.add(
            field=_shortened(violation.field, 128),
            description=_shortened(violation.description, 256),
        )
        if kept.ByteSize() > MAX_BYTES // 2:
            left = len(detail.field_violations) - len(kept.field_violations)
            kept.field_violations.add(description=f"and {left} more; mend these first")
            break
    return kept


def from_status(code: grpc.StatusCode, message: str, details: bytes | None) -> OnexError:
    """The error with which a call ended, as the class that the server raised.

    Args:
        code: the status of the call.
        message: its text.
        details: value of the trailing `grpc-status-details-bin`; None for a server that sends none.
    """
    status = Status(code.value[0])
    proto = status_pb2.Status()
    try:
        proto.MergeFromString(details or b"")
    except DecodeError:
        proto.Clear()
    return _from_details(proto, status, message)


def _from_details(proto: status_pb2.Status, status: Status, message: str) -> OnexError:
    info, detail = rpc_details.ErrorInfo(), error_pb2.ErrorDetail()
    bad, retry = rpc_details.BadRequest(), rpc_details.RetryInfo()
    found = {kind.DESCRIPTOR.full_name for kind in (info, detail, bad, retry) if _take(proto, kind)}
    ours = info.domain == DOMAIN
    if ours and detail.DESCRIPTOR.full_name in found:
        error = from_detail(detail)
    else:
        error = _make(info.reason if ours else "", status, message)
    error.context = error.context or dict(info.metadata)
    error.violations = tuple(Violation(v.field, v.description) for v in bad.field_violations)
    if retry.DESCRIPTOR.full_name in found:
        error.retry_after = retry.retry_delay.ToNanoseconds() / 1e9
    return error


def _take(proto: status_pb2.Status, into: Message) -> bool:
    for packed in proto.details:
        if packed.TypeName() == into.DESCRIPTOR.full_name:
            try:
                return packed.Unpack(into)
            except DecodeError:
                into.Clear()
    return False
