"""A span as the mesh's code sees it, recorded or not."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Mapping
from dataclasses import replace
from enum import IntEnum
from typing import TYPE_CHECKING, Self

from onex_grpc.context import CallContext, current_call, enter_call
from onex_grpc.errors import OnexError

if TYPE_CHECKING:
    from types import TracebackType

AttributeValue = str | int | float | bool
Attributes = Mapping[str, AttributeValue]


class SpanKind(IntEnum):
    """The part that a span plays in a trace; numbered as in opentelemetry.trace.SpanKind."""

    INTERNAL = 0
    SERVER = 1
    CLIENT = 2
    PRODUCER = 3
    CONSUMER = 4


class Span:
    """One piece of work in a trace; this class itself is the one that records nothing.

    As a context manager it makes itself the parent of the calls inside the block
    (`current_call().traceparent`) and ends with the status of the exception that leaves the block;
    the exception's text is not recorded.

    Attributes:
        traceparent: the W3C header that child spans and calls continue; empty where there is no
            trace.
        recording: whether anything that is set will be exported.
    """

    __slots__ = ("_outer", "traceparent")
    recording = False

    def __init__(self, traceparent: str = "") -> None:
        self.traceparent = traceparent
        self._outer: CallContext | None = None

    def set(self, key: str, value: AttributeValue) -> None:
        """Sets an attribute."""

    def add_link(self, traceparent: str) -> None:
        """Relates the span to another place in a trace; a malformed one is left out."""

    def attach(self) -> None:
        """Makes a recording span OpenTelemetry's current one for the rest of the running task."""

    def end(self, status: str = "OK", error: bool | None = None, description: str = "") -> None:
        """Ends the span; only the first end counts.

        Args:
            status: name of the gRPC status with which the work ended.
            error: whether that is an error; None decides by the span's kind (`names.is_error`).
            description: what went wrong, free of secrets.
        """

    def __enter__(self) -> Self:
        self._outer = current_call()
        if self._outer is not None:
            enter_call(replace(self._outer, traceparent=self.traceparent))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._outer is not None:
            enter_call(self._outer)
        self.end(status_of(exc))


def status_of(error: BaseException | None) -> str:
    """The name of the gRPC status that an exception stands for."""
    if error is None:
        return "OK"
    if isinstance(error, OnexError):
        return error.status.name
    return "CANCELLED" if isinstance(error, CancelledError | GeneratorExit) else "INTERNAL"
