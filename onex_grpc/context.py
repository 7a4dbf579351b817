"""What belongs to one call and follows it through the code: ids, lease, deadline."""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def _value(cls: type[T]) -> type[T]:
    """A frozen dataclass to type checkers; at run time a plain one, which is built five times as
    fast, and one is built per call.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


@_value
class LeaseClaim:
    """The lease under which a call is made, as its headers state it."""

    workflow_id: str
    lease_id: str = field(repr=False)
    fence: int
    token: str = field(repr=False)


@_value
class CallContext:
    """The facts of one call; immutable, so that child calls derive their own.

    Attributes:
        correlation_id: UUID text, the same from the outside client to the last intent.
        action_id: UUID text of the action that the call executes; empty outside actions.
        epoch: version of the workflow's state on which the call is based; None without a lease.
        lease: the lease under which the call is made; None for an unleased call.
        caller: the calling node as `kind/name`; empty for an outside client.
        deadline: when the call must end, in seconds of time.monotonic(); None without a deadline.
        traceparent: W3C trace context that child spans and calls continue; empty without a trace.
        workflow_id: the workflow that the call serves; empty outside workflows.
        tracestate: W3C vendor data of the trace, handed on as it came.
        baggage: W3C baggage, handed on as it came.
        issued_us: when the action was first sent, in microseconds since the Unix epoch; 0 for a
            first sending, which is issued when it arrives. It goes wherever action_id goes.
    """

    correlation_id: str
    action_id: str = ""
    epoch: int | None = None
    lease: LeaseClaim | None = field(default=None, repr=False)
    caller: str = ""
    deadline: float | None = None
    traceparent: str = ""
    workflow_id: str = ""
    tracestate: str = ""
    baggage: str = ""
    issued_us: int = 0

    def remaining(self) -> float | None:
        """Seconds until the deadline, 0.0 when it has passed; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


_current: ContextVar[CallContext | None] = ContextVar("onex_call_context", default=None)


def current_call() -> CallContext | None:
    """The call that the running code serves; None outside of any."""
    return _current.get()


def enter_call(call: CallContext) -> None:
    """Makes a call the current one for the rest of the running task."""
    _current.set(call)
