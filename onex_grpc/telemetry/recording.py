"""Spans that are recorded; the exporter's thread makes standard OpenTelemetry spans of them.

The SDK's tracer is passed by: the sampling decision is made already, and a span of the SDK costs
five times as much. Users' own OpenTelemetry code sees the span as the current one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from onex_grpc.context import current_call
from onex_grpc.telemetry import names
from onex_grpc.telemetry.span import Attributes, AttributeValue, Span, SpanKind
from onex_grpc.telemetry.traceparent import TraceParent, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Span as SdkSpan
    from opentelemetry.util import types

    from onex_grpc.telemetry.buffer import Buffer

_RPC: Final[Mapping[SpanKind, names.Side]] = {
    SpanKind.SERVER: "server",
    SpanKind.CLIENT: "client",
}
_MAX_LINKS: Final = 128


class Recorder:
    """Where recorded spans go: the process that they belong to, and the buffer before the
    exporter.
    """

    __slots__ = ("buffer", "resource")

    def __init__(self, resource: Resource, buffer: Buffer[RecordedSpan | ReadableSpan]) -> None:
        self.resource = resource
        self.buffer = buffer

    def start_span(
        self,
        name: str,
        kind: SpanKind,
        place: TraceParent,
        parent: TraceParent | None,
        attributes: Attributes | None,
        links: Sequence[str],
    ) -> RecordedSpan:
        """Starts a span at a place in a trace; `attributes` are copied."""
        first: dict[str, types.AnyValue] = {**attributes} if attributes else {}
        return RecordedSpan(self, name, kind, place, parent, first, links)


class RecordedSpan(Span):
    """A span that will be exported.

    Attributes:
        name: what is done.
        kind: the part in the trace.
        place: its own ids.
        parent: the ids of the span above; None for the first of a trace.
        attributes: what was set.
        links: related places.
        events: moments that users' own OpenTelemetry code has noted.
        started_ns: start, in nanoseconds of the Unix epoch.
        ended_ns: end, likewise; 0 while it runs.
        error: whether it ended as an error.
        description: what went wrong.
    """

    __slots__ = (
        "_recorder",
        "_token",
        "attributes",
        "description",
        "ended_ns",
        "error",
        "events",
        "kind",
        "links",
        "name",
        "parent",
        "place",
        "started_ns",
    )
    recording = True

    def __init__(
        self,
        recorder: Recorder,
        name: str,
        kind: SpanKind,
        place: TraceParent,
        parent: TraceParent | None,
        attributes: dict[str, types.AnyValue],
        links: Sequence[str],
    ) -> None:
        super().__init__(str(place))
        self._recorder = recorder
        self.name = name
        self.kind = kind
        self.place = place
        self.parent = parent
        self.attributes = attributes
        self.links: list[TraceParent] = []
        self.events: list[Event] = []
        self.error = False
        self.description = ""
        self._token: Token[Context] | None = None
        for link in links:
            self.add_link(link)
        self.ended_ns = 0
        self.started_ns = time.time_ns()

    def set(self, key: str, value: AttributeValue) -> None:
        """Sets an attribute."""
        self.attributes[key] = value

    def add_link(self, traceparent: str) -> None:
        """Relates the span to another place; the first 128 count, as in the SDK."""
        place = parse(traceparent)
        if place is not None and len(self.links) < _MAX_LINKS:
            self.links.append(place)

    def attach(self) -> None:
        """Makes the span OpenTelemetry's current one for the rest of the running task."""
        otel_context.attach(trace.set_span_in_context(_CurrentSpan(self)))

    def end(self, status: str = "OK", error: bool | None = None, description: str = "") -> None:
        """Ends the span and hands it to the exporter."""
        if self.ended_ns:
            return
        self.ended_ns = time.time_ns()
        side = _RPC.get(self.kind)
        if side is not None:
            self.attributes.setdefault(names.RPC_STATUS, status)
        if error is None:
            error = status != "OK" if side is None else names.is_error(side, status)
        if error:
            self.error = True
            self.description = description
            self.attributes.setdefault(names.ERROR_TYPE, status)
        self._recorder.buffer.put(self)

    def __enter__(self) -> RecordedSpan:
        super().__enter__()
        self._token = otel_context.attach(trace.set_span_in_context(_CurrentSpan(self)))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._token is not None:
            otel_context.detach(self._token)
        super().__exit__(exc_type, exc, traceback)


class _CurrentSpan(trace.Span):
    """A recorded span as users' own OpenTelemetry code gets it from `trace.get_current_span()`; it
    cannot end it.
    """

    def __init__(self, span: RecordedSpan) -> None:
        self._span = span

    def get_span_context(self) -> SpanContext:
        place = self._span.place
        trace_id, span_id = int(place.trace_id, 16), int(place.span_id, 16)
        return SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(place.flags))

    def is_recording(self) -> bool:
        return not self._span.ended_ns

    def set_attribute(self, key: str, value: types.AnyValue) -> None:
        self._span.attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, types.AnyValue]) -> None:
        self._span.attributes.update(attributes)

    def add_event(
        self, name: str, attributes: types.Attributes = None, timestamp: int | None = None
    ) -> None:
        self._span.events.append(Event(name, attributes, timestamp))

    def update_name(self, name: str) -> None:
        self._span.name = name

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        # Its class only: the text of an unknown exception may hold anything.
        kind = type(exception)
        facts = {**(attributes or {}), "exception.type": f"{kind.__module__}.{kind.__qualname__}"}
        self._span.events.append(Event("exception", facts, timestamp))

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Left out: the outcome of the mesh's spans is that of the call."""

    def end(self, end_time: int | None = None) -> None:
        """Left out: the mesh ends its spans."""


class _ForeignSpans(SpanProcessor):
    """Takes the spans of OpenTelemetry's own tracers into the same buffer."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        call = current_call()
        if call is not None:
            span.set_attribute(names.CORRELATION_ID, call.correlation_id)

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            self._recorder.buffer.put(span)


def install(recorder: Recorder) -> None:
    """Makes the recorder's exporter that of OpenTelemetry's global tracers, if they have none."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        provider = TracerProvider(resource=recorder.resource, shutdown_on_exit=False)
        provider.add_span_processor(_ForeignSpans(recorder))
        trace.set_tracer_provider(provider)
