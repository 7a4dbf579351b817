"""The way of one call through the wrapper: from its headers to its status."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import TYPE_CHECKING, Final

import grpc

from onex_grpc import headers
from onex_grpc.context import CallContext, enter_call
from onex_grpc.errors import OnexError, UnimplementedError
from onex_grpc.rpc.status import to_status
from onex_grpc.rpc.transport import incoming
from onex_grpc.telemetry import Span, SpanKind, is_error, names, rpc_attributes

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from onex_grpc.rpc.calls import CallRuntime, Method
    from onex_grpc.rpc.correlation import CorrelationField
    from onex_grpc.rpc.transport import ServerContext

_log = logging.getLogger(__name__)
_UNTOLD: Final = "internal error; the node's log says more under this correlation id"


class Passage:
    """One call on its way through the wrapper.

    Attributes:
        call: the facts of the call, once its headers are read.
        correlated: whether the call came with a correlation id, in the header or in its message.
    """

    __slots__ = (
        "_context", "_method", "_runtime", "_span", "_started", "_status", "call", "correlated",
    )  # fmt: skip

    def __init__(self, runtime: CallRuntime, method: Method, context: ServerContext) -> None:
        self._runtime = runtime
        self._method = method
        self._context = context
        self._span: Span | None = None
        self._status = "OK"
        self.call: CallContext | None = None
        self.correlated = True
        self._started = time.monotonic()
        runtime.begin()

    def enter(
        self, attributes: dict[str, str], request: Message | None, field: CorrelationField | None
    ) -> CallContext:
        """Reads the headers, starts the span and makes the call the task's current one.

        Raises:
            ContractValidationError: for malformed headers.
            ResourceExhaustedError: for headers beyond their limit.
        """
        said = headers.parse(incoming.get() or self._context.invocation_metadata())
        correlation_id = said.correlation_id
        if not correlation_id and request is not None and field is not None:
            correlation_id = field.read(request)
        if not correlation_id:
            self.correlated = False
            correlation_id = str(uuid.uuid4())
        runtime = self._runtime
        span = self._span = runtime.telemetry.start_span(
            self._method.name,
            SpanKind.SERVER,
            parent=said.traceparent,
            correlation_id=correlation_id,
            attributes=attributes,
        )
        remaining = self._context.time_remaining()
        call = self.call = CallContext(
            correlation_id,
            said.action_id,
            said.epoch,
            said.lease,
            said.caller,
            None if remaining is None else time.monotonic() + remaining,
            span.traceparent,
            said.workflow_id,
            said.tracestate,
            said.baggage,
            said.issued_us,
        )
        enter_call(call)
        if span.recording:
            span.attach()
            _describe(span, call)
        runtime.refuse_if_draining()
        return call

    def fail(self, error: BaseException) -> None:
        """Sets the status for an error; raises it again where the transport has to see it."""
        if isinstance(error, OnexError):
            self._answer(error)
        elif isinstance(error, asyncio.CancelledError) and is_asked_for():
            self._status = "DEADLINE_EXCEEDED" if self._is_late() else "CANCELLED"
            raise error
        elif isinstance(error, grpc.aio.AbortError):
            # Aborted by the handler: grpc has ended the call itself.
            code = self._context.code()
            self._status = "CANCELLED" if code is None else code.name
            raise error
        elif isinstance(error, Exception | asyncio.CancelledError):
            self._answer(self._untold(error))
        else:
            self._status = "INTERNAL"
            raise error

    def leave(self) -> None:
        """Ends the span and counts the call out; a status that the handler set counts."""
        status = self._status
        if status == "OK" and (code := self._context.code()) is not None:
            status = code.name
        if self._span is not None:
            self._span.end(status)
        now = time.monotonic()
        runtime = self._runtime
        runtime.telemetry.record_call("server", self._method.name, status, now - self._started)
        runtime.finish(now, failed=status != "OK" and is_error("server", status))

    def _answer(self, error: OnexError) -> None:
        # The call's own id: calls that wait for the same thing get the same error.
        wire = to_status(error, correlation_id=self._correlation_id(), node=self._runtime.node)
        self._status = wire.code.name
        self._context.set_code(wire.code)
        self._context.set_details(wire.message)
        self._context.set_trailing_metadata(wire.trailing_metadata)
        if self._span is not None and self._span.recording:
            self._span.set(names.REASON, wire.reason)
        if is_error("server", self._status) and wire.message != _UNTOLD:
            _log.warning("%s failed: %s", self._method.name, wire.message)

    def _correlation_id(self) -> str:
        if self.call is not None:
            return self.call.correlation_id
        # The request or its headers could not be read; the id alone may still be well-formed.
        said = str(dict(self._context.invocation_metadata()).get(headers.CORRELATION_ID, ""))
        return said.lower() if headers.is_uuid(said) else ""

    def _untold(self, error: BaseException) -> OnexError:
        unimplemented = grpc.StatusCode.UNIMPLEMENTED
        if isinstance(error, NotImplementedError) and self._context.code() is unimplemented:
            # The generated servicer's own: the node's class does not override the method.
            return UnimplementedError(f"{self._method.name} is not built at this node")
        _log.error("%s raised %s", self._method.name, type(error).__name__, exc_info=error)
        return OnexError(_UNTOLD)

    def _is_late(self) -> bool:
        remaining = self._context.time_remaining()
        return remaining is not None and remaining <= 0


def span_attributes(method: Method) -> dict[str, str]:
    """The attributes that all server spans of a method share."""
    return dict(rpc_attributes(method.name))


def _describe(span: Span, call: CallContext) -> None:
    if call.workflow_id:
        span.set(names.WORKFLOW_ID, call.workflow_id)
    if call.action_id:
        span.set(names.ACTION_ID, call.action_id)
    if call.lease is not None:
        span.set(names.FENCE, call.lease.fence)
    if call.epoch is not None:
        span.set(names.EPOCH, call.epoch)


def is_asked_for() -> bool:
    """Whether this task was told to stop; otherwise a cancellation is a stray one from inside."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
