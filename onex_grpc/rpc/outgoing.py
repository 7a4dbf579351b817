"""One call on its way out: headers, deadline, span, and the error that it ends with."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

import grpc
from google.protobuf.message import DecodeError

from onex_grpc import headers
from onex_grpc.context import current_call
from onex_grpc.errors import (
    CallCancelledError,
    DeadlineExceededError,
    NodeUnavailableError,
    OnexError,
    Status,
)
from onex_grpc.rpc.correlation import CorrelationField
from onex_grpc.rpc.detail import ForeignError, reason_of
from onex_grpc.rpc.passage import is_asked_for
from onex_grpc.rpc.status import DETAILS_KEY, from_status
from onex_grpc.telemetry import Span, SpanKind, names, rpc_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from onex_grpc.context import CallContext
    from onex_grpc.telemetry import AttributeValue, Telemetry

Headers = list[tuple[str, str | bytes]]

# gRPC counts in 64-bit nanoseconds from an epoch, and takes what lies beyond for the past.
_LONGEST: Final = 10 * 365 * 86_400.0


class Fields(grpc.aio.Metadata):
    """Headers as they are: grpc.aio only iterates over them, and its own class sorts them into a
    dictionary of lists first.
    """

    def __init__(self, fields: Headers) -> None:
        self._fields = fields

    def __len__(self) -> int:
        return len(self._fields)

    def __iter__(self) -> Iterator[tuple[str, str | bytes]]:
        return iter(self._fields)


GivenMetadata = Sequence[tuple[str, str | bytes]] | None


class Peer:
    """Who is called and by whom: what all calls to one target share.

    Attributes:
        address: where it is; empty as long as that is not known.
    """

    def __init__(
        self,
        target: str,
        address: str,
        *,
        caller: str,
        telemetry: Telemetry,
        default_timeout: float | None,
    ) -> None:
        self.target = target
        self.address = address
        self.caller = caller
        self.telemetry = telemetry
        self.default_timeout = default_timeout

    def __str__(self) -> str:
        return f"{self.target} at {self.address}" if self.address else self.target


class ClientMethod:
    """One method of a peer, with what its calls share."""

    def __init__(self, peer: Peer, path: str) -> None:
        self.peer = peer
        self.name = path[1:]
        self._address = ""
        self._attributes: dict[str, AttributeValue] = {**rpc_attributes(self.name)}
        self._correlation: dict[type, CorrelationField] = {}

    @property
    def attributes(self) -> Mapping[str, AttributeValue]:
        """Those of a call's span."""
        if self._address is not self.peer.address:
            self._attributes = self._describe(self.peer.address)
        return self._attributes

    def _describe(self, address: str) -> dict[str, AttributeValue]:
        self._address = address
        found: dict[str, AttributeValue] = {**rpc_attributes(self.name)}
        # Of several endpoints, the channel knows which one a call goes to.
        host, _, port = ("", "", "") if "," in address else address.rpartition(":")
        if address:
            found[names.SERVER_ADDRESS] = host or address
        if host and port.isdecimal():
            found[names.SERVER_PORT] = int(port)
        return found

    def correlation_of(self, request: Message | None) -> str:
        """The correlation id of a call from outside any: its message's, or a new one."""
        if request is None:
            return str(uuid.uuid4())
        kind = type(request)
        if (field := self._correlation.get(kind)) is None:
            field = self._correlation[kind] = CorrelationField(kind)
        return field.read(request) or str(uuid.uuid4())


class NoAnswer(Exception):
    """Raised for a call that ended well and brought no message that can be read."""


class Outgoing:
    """One call on its way out.

    Attributes:
        correlation_id: the id that the call carries.
        timeout: seconds that it may take; None without a deadline.
    """

    __slots__ = ("_ended", "_method", "_span", "_started", "correlation_id", "timeout")

    def __init__(self, method: ClientMethod, request: Message | None) -> None:
        self._method = method
        self._started = time.monotonic()
        self._ended = False
        peer = method.peer
        call = current_call()
        if call is None:
            parent = ""
            self.correlation_id = method.correlation_of(request)
        else:
            parent = call.traceparent
            self.correlation_id = call.correlation_id
        self.timeout: float | None = None
        self._span: Span = peer.telemetry.start_span(
            method.name,
            SpanKind.CLIENT,
            parent=parent,
            correlation_id=self.correlation_id,
            attributes=method.attributes,
        )

    def open(self, timeout: float | None, given: GivenMetadata) -> Fields:
        """Settles the deadline and writes the headers.

        Args:
            timeout: seconds that the call may take; None for the default. The time that the
                calling call has left goes before both.
            given: the user's own metadata; a header of the mesh in it replaces that of the call.

        Raises:
            DeadlineExceededError: when no time is left.
            ContractValidationError: for a header that gRPC would not carry.
            ResourceExhaustedError: for headers beyond their limit.
        """
        call = current_call()
        peer = self._method.peer
        self.timeout = self._settle(peer.default_timeout if timeout is None else timeout, call)
        fields = headers.write(self.correlation_id, self._span.traceparent, peer.caller, call)
        if given is not None:
            fields = self._merge(fields, given)
        return Fields(fields)

    def _settle(self, timeout: float | None, call: CallContext | None) -> float | None:
        if call is not None and (remaining := call.remaining()) is not None:
            timeout = remaining if timeout is None else min(timeout, remaining)
        if timeout is None:
            return None
        # Written so that NaN is refused, too.
        if not timeout > 0:
            raise DeadlineExceededError(
                f"{self._method.name} was not called: the time of the call that needs it ran out"
            )
        return min(timeout, _LONGEST)

    def _merge(self, fields: Headers, given: Sequence[tuple[str, str | bytes]]) -> Headers:
        headers.check(tuple(given))
        own = {name for name, _ in given}
        if headers.ACTION_ID in own:
            # Another action, which was not issued when that of the call was.
            own.add(headers.ISSUED_AT)
        merged = [field for field in fields if field[0] not in own] + list(given)
        said = headers.parse(tuple(merged))
        self.correlation_id = said.correlation_id or self.correlation_id
        return merged

    def end(self, status: str) -> None:
        """Ends the span and counts the call; only the first end counts."""
        if self._ended:
            return
        self._ended = True
        self._span.end(status)
        method = self._method
        seconds = time.monotonic() - self._started
        method.peer.telemetry.record_call("client", method.name, status, seconds)

    def fail(self, error: BaseException) -> NoReturn:
        """Ends the call with an error and raises it as the mesh's own.

        Raises:
            OnexError: the server's error again, or what kept the call from it.
            asyncio.CancelledError: only if the running task was told to stop.
        """
        if isinstance(error, grpc.aio.AioRpcError):
            raised = self._translate(error)
        elif isinstance(error, OnexError):
            raised = error
        elif isinstance(error, asyncio.CancelledError) and not is_asked_for():
            raised = CallCancelledError(f"{self._name()} was cancelled by the closing of the mesh")
        elif isinstance(error, grpc.aio.UsageError):
            raised = NodeUnavailableError(f"{self._name()} was not called: the mesh is closed")
        elif isinstance(error, NoAnswer | DecodeError):
            raised = OnexError(
                f"{self._name()} was not answered with the message of its contract; generate this"
                " client again from the protos of the node"
            )
        elif isinstance(error, KeyError):
            # grpc.aio has no name for the number; the call has ended all the same.
            raised = ForeignError(
                f"{self._name()} ended with status {error}, which gRPC does not have; see the log"
                " of the node, or of a proxy before it",
                Status.UNKNOWN,
            )
        else:
            self.end("CANCELLED" if isinstance(error, asyncio.CancelledError) else "INTERNAL")
            raise error
        raised.correlation_id = raised.correlation_id or self.correlation_id
        if self._span.recording:
            self._span.set(names.REASON, reason_of(raised))
        self.end(raised.status.name)
        raise raised from raised.__cause__

    def _name(self) -> str:
        return f"{self._method.name} of {self._method.peer}"

    def _translate(self, error: grpc.aio.AioRpcError) -> OnexError:
        trailing = error.trailing_metadata()
        details = trailing.get(DETAILS_KEY) if trailing is not None else None
        text = error.details() or error.code().name
        if isinstance(details, bytes):
            return from_status(error.code(), text, details)
        return self._explain(error.code(), text)

    def _explain(self, code: grpc.StatusCode, text: str) -> OnexError:
        """The error for a status that no node of the mesh gave: gRPC's own, or a proxy's."""
        peer = self._method.peer
        context = {"target": peer.target, "address": peer.address}
        if code is grpc.StatusCode.UNAVAILABLE:
            return NodeUnavailableError(f"{peer} cannot be reached: {text}", context=context)
        if code is grpc.StatusCode.CANCELLED:
            # So grpc's server ends what reaches it while it stops: the node goes away, just as when
            # the connection breaks.
            text = "broken off by the other side; it may have been executed or not"
            return NodeUnavailableError(f"{self._name()}: {text}", context=context)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            text = "no answer within " + (f"{self.timeout:.3f} s" if self.timeout else "its time")
        error = from_status(code, f"{self._name()}: {text}", None)
        error.context = context
        return error
