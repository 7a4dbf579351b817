"""Spans that are recorded: standard OpenTelemetry spans, handed to the SDK's batch processor.

The SDK's tracer is passed by: the sampling decision is made already, and a span of the SDK costs
twice as much. What is exported is the same, and users' own OpenTelemetry code sees the span as the
current one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags

from onex_grpc.telemetry import names
from onex_grpc.telemetry.redaction import redact_attribute
from onex_grpc.telemetry.span import Attributes, AttributeValue, Span, SpanKind
from onex_grpc.telemetry.traceparent import TraceParent, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.util import types

_KINDS: Final = {kind: trace.SpanKind(kind.value) for kind in SpanKind}
_REMOTE_PARENT: Final = (SpanKind.SERVER, SpanKind.CONSUMER)
_RPC: Final[Mapping[SpanKind, names.Side]] = {
    SpanKind.SERVER: "server",
    SpanKind.CLIENT: "client",
}
_SCOPE: Final = InstrumentationScope(names.SCOPE, schema_url=names.SCHEMA_URL)
_OK: Final = Status(StatusCode.UNSET)
_MAX_LINKS: Final = 128


def _span_context(place: TraceParent, *, remote: bool) -> SpanContext:
    trace_id, span_id = int(place.trace_id, 16), int(place.span_id, 16)
    return SpanContext(trace_id, span_id, remote, TraceFlags(place.flags))


class Recorder:
    """Where recorded spans go: the resource that they belong to and the processor that exports
    them.
    """

    __slots__ = ("processor", "resource")

    def __init__(self, resource: Resource, processor: SpanProcessor) -> None:
        self.resource = resource
        self.processor = processor


class RecordedSpan(Span):
    """A span that will be exported."""

    __slots__ = (
        "_attributes",
        "_ended",
        "_events",
        "_kind",
        "_links",
        "_name",
        "_parent",
        "_place",
        "_recorder",
        "_started",
        "_token",
    )
    recording = True

    def __init__(
        self,
        recorder: Recorder,
        name: str,
        kind: SpanKind,
        place: TraceParent,
        parent: TraceParent | None,
        attributes: dict[str, AttributeValue],
        links: Sequence[str],
    ) -> None:
        super().__init__(str(place))
        self._recorder = recorder
        self._name = name
        self._kind = kind
        self._place = place
        self._parent = parent
        self._attributes: dict[str, types.AnyValue] = {**attributes}
        self._links: list[Link] = []
        self._events: list[Event] = []
        self._ended = False
        self._token: object = None
        for link in links:
            self.add_link(link)
        self._started = time.time_ns()

    @property
    def context(self) -> SpanContext:
        """The span's place in the trace, as OpenTelemetry has it."""
        return _span_context(self._place, remote=False)

    def set(self, key: str, value: AttributeValue) -> None:
        """Sets an attribute."""
        self._attributes[key] = value

    def set_foreign(self, key: str, value: types.AnyValue) -> None:
        """Sets an attribute of any type that OpenTelemetry knows, for users' own OpenTelemetry
        code.
        """
        self._attributes[key] = value

    def add_event(self, event: Event) -> None:
        """Adds a moment of the span's time, for users' own OpenTelemetry code."""
        self._events.append(event)

    def rename(self, name: str) -> None:
        """Gives the span another name, for users' own OpenTelemetry code."""
        self._name = name

    def add_link(self, traceparent: str) -> None:
        """Relates the span to another place; the first 128 count, as in the SDK."""
        place = parse(traceparent)
        if place is not None and len(self._links) < _MAX_LINKS:
            self._links.append(Link(_span_context(place, remote=True)))

    def attach(self) -> None:
        """Makes the span OpenTelemetry's current one for the rest of the running task."""
        otel_context.attach(trace.set_span_in_context(_CurrentSpan(self)))

    def end(self, status: str = "OK", error: bool | None = None, description: str = "") -> None:
        """Ends the span and hands it to the exporter."""
        if self._ended:
            return
        self._ended = True
        ended = time.time_ns()
        side = _RPC.get(self._kind)
        if side is not None:
            self._attributes.setdefault(names.RPC_STATUS, status)
        if error is None:
            error = status != "OK" if side is None else names.is_error(side, status)
        if error:
            self._attributes.setdefault(names.ERROR_TYPE, status)
        outcome = Status(StatusCode.ERROR, description or None) if error else _OK
        self._recorder.processor.on_end(self._readable(ended, outcome))

    def _readable(self, ended: int, outcome: Status) -> ReadableSpan:
        parent = self._parent
        remote = self._kind in _REMOTE_PARENT
        return ReadableSpan(
            self._name,
            context=self.context,
            parent=None if parent is None else _span_context(parent, remote=remote),
            resource=self._recorder.resource,
            attributes={k: redact_attribute(k, v) for k, v in self._attributes.items()},
            events=self._events,
            links=self._links,
            kind=_KINDS[self._kind],
            status=outcome,
            start_time=self._started,
            end_time=ended,
            instrumentation_scope=_SCOPE,
        )

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
        otel_context.detach(self._token)  # type: ignore[arg-type]
        super().__exit__(exc_type, exc, traceback)


class _CurrentSpan(trace.Span):
    """A recorded span as users' own OpenTelemetry code gets it from `trace.get_current_span()`; it
    cannot end it.
    """

    def __init__(self, span: RecordedSpan) -> None:
        self._span = span

    def get_span_context(self) -> SpanContext:
        return self._span.context

    def is_recording(self) -> bool:
        return True

    def set_attribute(self, key: str, value: types.AnyValue) -> None:
        self._span.set_foreign(key, value)

    def set_attributes(self, attributes: Mapping[str, types.AnyValue]) -> None:
        for key, value in attributes.items():
            self._span.set_foreign(key, value)

    def add_event(
        self, name: str, attributes: types.Attributes = None, timestamp: int | None = None
    ) -> None:
        self._span.add_event(Event(name, attributes, timestamp))

    def update_name(self, name: str) -> None:
        self._span.rename(name)

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
        self._span.add_event(Event("exception", facts, timestamp))

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Left out: the outcome of the mesh's spans is that of the call."""

    def end(self, end_time: int | None = None) -> None:
        """Left out: the mesh ends its spans."""


def install(recorder: Recorder) -> None:
    """Makes the recorder's exporter that of OpenTelemetry's global tracers, if they have none."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        provider = TracerProvider(resource=recorder.resource, shutdown_on_exit=False)
        provider.add_span_processor(recorder.processor)
        trace.set_tracer_provider(provider)


def attributes_of(given: Attributes | None, correlation_id: str) -> dict[str, AttributeValue]:
    """The first attributes of a span: what was given, and the correlation id."""
    attributes = dict(given) if given else {}
    if correlation_id:
        attributes[names.CORRELATION_ID] = correlation_id
    return attributes
