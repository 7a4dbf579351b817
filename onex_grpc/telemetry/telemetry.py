"""The one object through which a process traces and measures."""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Final

from onex_grpc.errors import ConfigurationError
from onex_grpc.telemetry import names, traceparent
from onex_grpc.telemetry.buffer import BufferOptions
from onex_grpc.telemetry.metrics import CallMetrics
from onex_grpc.telemetry.sampling import Sampler, sampler_from
from onex_grpc.telemetry.span import Attributes, Span, SpanKind
from onex_grpc.telemetry.traceparent import is_sampled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onex_grpc.telemetry.exporting import SpanPipeline
    from onex_grpc.telemetry.metric_export import MetricPipeline

_log = logging.getLogger(__name__)
_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_LENGTH: Final = 55
_NEVER: Final = Sampler(0.0, follow_parent=False)


class Telemetry:
    """Spans, durations of calls, and their export; without a collector it only hands on traces.

    Attributes:
        recorder: where spans are recorded, for programs with OpenTelemetry code of their own; None
            without a collector.
    """

    def __init__(
        self,
        *,
        sampler: Sampler = _NEVER,
        spans: SpanPipeline | None = None,
        metrics: CallMetrics | None = None,
        metric_pipeline: MetricPipeline | None = None,
    ) -> None:
        self._sampler = sampler
        self._spans = spans
        self.recorder = None if spans is None else spans.recorder
        self._metrics = metrics
        self._metric_pipeline = metric_pipeline

    @classmethod
    def from_environment(cls, *, service_name: str = "", node: str = "") -> Telemetry:
        """Telemetry as the standard OTEL_* variables set it.

        Args:
            service_name: the name in traces; OTEL_SERVICE_NAME goes before it, and
                `onex.<kind>.<name>` is the default.
            node: the node as `kind/name`; empty for a program that is none.

        Raises:
            ConfigurationError: for a sampler, a protocol or an interval that cannot be used.
        """
        environment = os.environ
        traces, metrics = _wanted(environment, "TRACES"), _wanted(environment, "METRICS")
        if not traces and not metrics:
            return cls()
        # Before any thread starts, so that a setting that cannot be used leaves none behind.
        sampler, interval = sampler_from(environment), _interval(environment)
        options = BufferOptions.of(environment)
        # Imported here: a process without a collector need not load the SDK.
        from onex_grpc.telemetry import exporting, metric_export

        name = service_name or f"onex.{node.replace('/', '.')}".rstrip(".")
        resource = exporting.make_resource(name, node)
        histograms = CallMetrics() if metrics else None
        return cls(
            sampler=sampler,
            spans=exporting.SpanPipeline(resource, options) if traces else None,
            metrics=histograms,
            metric_pipeline=None
            if histograms is None
            else metric_export.MetricPipeline(histograms, resource, interval),
        )

    def install(self) -> None:
        """Lets OpenTelemetry code other than ours (a user's own, a library's) export here too.

        A program that has set a TracerProvider of its own keeps it.
        """
        if self.recorder is not None:
            from onex_grpc.telemetry.recording import install

            install(self.recorder)

    def start_span(
        self,
        name: str,
        kind: SpanKind,
        *,
        parent: str = "",
        correlation_id: str = "",
        attributes: Attributes | None = None,
        links: Sequence[str] = (),
    ) -> Span:
        """Starts a span; the sampling decision comes first, and an unsampled span is no more than
        its traceparent.

        Args:
            name: what is done; for a call the method's full name without a leading slash.
            kind: the part in the trace.
            parent: traceparent of the work that this belongs to; empty or malformed begins a trace.
            correlation_id: stands on the span as `onex.correlation_id`.
            attributes: first attributes; never changed, so one mapping per method may be shared.
            links: traceparents of related work.
        """
        recorder = self.recorder
        if recorder is None:
            return Span(parent)
        sampler = self._sampler
        if sampler.follow_parent and len(parent) == _LENGTH and not is_sampled(parent):
            # Nearly all calls, where few are sampled: headers are checked when they come in.
            return Span(parent)
        above = traceparent.parse(parent) if parent else None
        if above is None:
            trace_id = traceparent.new_trace_id()
            kept = sampler.keeps_root(trace_id)
            place = traceparent.root(trace_id, sampled=kept)
        else:
            kept = sampler.keeps_child(above)
            if not kept and not above.sampled:
                return Span(parent)
            place = traceparent.child(above, sampled=kept)
        if not kept:
            return Span(str(place))
        span = recorder.start_span(name, kind, place, above, attributes, links)
        if correlation_id:
            span.set(names.CORRELATION_ID, correlation_id)
        return span

    def record_call(self, side: names.Side, method: str, status: str, seconds: float) -> None:
        """Counts a finished call in `rpc.server.call.duration` or `rpc.client.call.duration`.

        Args:
            side: where it was measured.
            method: full name without a leading slash.
            status: name of the gRPC status.
            seconds: how long it took.
        """
        if self._metrics is not None:
            self._metrics.record(side, method, status, seconds)

    async def shutdown(self, timeout: float = 5.0) -> None:
        """Sends what is recorded and closes the exporters; gives up after `timeout` seconds."""
        pipelines = [p for p in (self._spans, self._metric_pipeline) if p is not None]
        if not pipelines:
            return
        from onex_grpc.telemetry.outage import in_background

        loop = asyncio.get_running_loop()
        flushed = [asyncio.Event() for _ in pipelines]
        for pipeline, event in zip(pipelines, flushed, strict=True):
            in_background(pipeline.flush, partial(_tell, loop, event))
        try:
            async with asyncio.timeout(timeout):
                for event in flushed:
                    await event.wait()
        except TimeoutError:
            _log.warning("telemetry was not sent within %.1f s; what is left is dropped", timeout)
        finally:
            for pipeline in pipelines:
                pipeline.close()
            self._spans = self.recorder = self._metric_pipeline = None


def _tell(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    # After a timeout the loop may be gone, and nobody waits.
    if not loop.is_closed():
        loop.call_soon_threadsafe(event.set)


def _wanted(environment: Mapping[str, str], signal: str) -> bool:
    """Whether a signal (TRACES, METRICS) has a collector."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environment.get(f"OTEL_{signal}_EXPORTER", "otlp") != "otlp":
        return False
    if not (environment.get(_ENDPOINT) or environment.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")):
        return False
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if (protocol := environment.get(name)) is not None:
            if protocol != "grpc":
                raise ConfigurationError(f"{name}={protocol}: only grpc is supported")
            break
    return True


def _interval(environment: Mapping[str, str]) -> float:
    text = environment.get("OTEL_METRIC_EXPORT_INTERVAL") or "60000"
    if not text.isdecimal() or not int(text):
        raise ConfigurationError(
            f"OTEL_METRIC_EXPORT_INTERVAL={text}: give a whole number of milliseconds above 0"
        )
    return int(text) / 1000


NO_TELEMETRY: Final = Telemetry()
"""Records nothing."""
