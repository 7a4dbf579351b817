"""Errors of the mesh as the wire carries them: google.rpc.Status with ErrorInfo, ErrorDetail and,
where they fit, BadRequest and RetryInfo.

Source: https://cloud.google.com/apis/design/errors and google/rpc/error_details.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2 as rpc_details
from google.rpc import status_pb2

from onex.v1 import error_pb2
from onex_grpc import carriable
from onex_grpc.errors import OnexError, Status, Violation
from onex_grpc.onex_error import keep_status
from onex_grpc.rpc.detail import ForeignError as ForeignError
from onex_grpc.rpc.detail import error_detail as error_detail
from onex_grpc.rpc.detail import fit, make_error
from onex_grpc.rpc.detail import from_detail as from_detail
from onex_grpc.rpc.detail import is_bare as is_bare
from onex_grpc.rpc.detail import reason_of as reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

DOMAIN: Final = "onex"
DETAILS_KEY: Final = "grpc-status-details-bin"
MAX_BYTES: Final = 4096
"""Most that the details of an error may hold: clients start to refuse at 8 KiB of metadata, and
what is binary grows by a third on the wire."""

CODES: Final = {Status(code.value[0]): code for code in grpc.StatusCode}
_MAX_MESSAGE: Final = 1024
_MAX_ENCODED: Final = 2048
_LIMITS: Final = (MAX_BYTES, 3072, 2048, 1024)


class WireStatus(NamedTuple):
    """An error as a call ends with it."""

    code: grpc.StatusCode
    message: str
    reason: str
    trailing_metadata: tuple[tuple[str, bytes], ...]


def code_of(number: int) -> grpc.StatusCode:
    """Return the gRPC status of a number; UNKNOWN for one that gRPC does not have."""
    return CODES[Status(number)] if number in CODES else grpc.StatusCode.UNKNOWN


def to_status(error: OnexError, *, correlation_id: str = "", node: str = "") -> WireStatus:
    """Return an error as a call ends with it: all of it where it fits, else cut and saying so.

    Never raises; arguments as those of `error_detail`.
    """
    detail = error_detail(error, correlation_id=correlation_id, node=node)
    code = CODES[Status(detail.status_code)]
    message = status_text(detail.message)
    proto = status_pb2.Status(code=detail.status_code, message=message)
    for limit in _LIMITS:
        fit(detail, limit)
        del proto.details[:]
        for told in _details(detail):
            proto.details.add().Pack(told)
        if proto.ByteSize() <= MAX_BYTES:
            break
    trailing = ((DETAILS_KEY, proto.SerializeToString()),)
    return WireStatus(code, message, detail.reason, trailing)


def _details(detail: error_pb2.ErrorDetail) -> Iterator[Message]:
    yield rpc_details.ErrorInfo(reason=detail.reason, domain=DOMAIN, metadata=detail.context)
    ours = detail
    if detail.violations:
        # Once is enough.
        ours = error_pb2.ErrorDetail()
        ours.CopyFrom(detail)
        ours.ClearField("violations")
    yield ours
    if detail.violations:
        bad = rpc_details.BadRequest()
        for violation in detail.violations:
            bad.field_violations.add(field=violation.field, description=violation.description)
        yield bad
    if detail.HasField("retry_after"):
        yield rpc_details.RetryInfo(retry_delay=detail.retry_after)


def status_text(message: object) -> str:
    """Return a text as the message of a status, short enough for the headers of any client."""
    text = carriable.text(message, _MAX_MESSAGE)
    if text.isascii() and 3 * len(text) <= _MAX_ENCODED:
        return text
    room = _MAX_ENCODED
    for place, char in enumerate(text):
        # grpc-message is percent-encoded UTF-8.
        room -= 1 if " " <= char <= "~" and char != "%" else 3 * len(char.encode())
        if room < 0:
            return text[: place - 1] + "…"
    return text


def from_status(code: grpc.StatusCode, message: str, details: bytes | None) -> OnexError:
    """Return the error with which a call ended, as the class that the server raised.

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
        detail.status_code = status
        error = from_detail(detail)
    else:
        error = make_error(info.reason if ours else "", status, message)
        if error.status is not status:
            keep_status(error, status)
    error.context = error.context or info.metadata
    if bad.field_violations:
        error.violations = [Violation(v.field, v.description) for v in bad.field_violations]
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
