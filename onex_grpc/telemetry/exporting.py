"""Sends spans and metrics to a collector over OTLP/gRPC; quiet when it is down."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from typing import TYPE_CHECKING, Final, cast

from opentelemetry.exporter.otlp.proto.grpc import exporter as otlp
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import export as points
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from onex_grpc.telemetry import names
from onex_grpc.telemetry.buffer import Buffer, BufferOptions
from onex_grpc.telemetry.encoding import Encoder
from onex_grpc.telemetry.recording import RecordedSpan, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onex_grpc.telemetry.metrics import CallMetrics, Histogram

_log = logging.getLogger(__name__)
_METRICS: Final[Mapping[names.Side, str]] = {
    "server": names.SERVER_DURATION,
    "client": names.CLIENT_DURATION,
}


class Outage:
    """Tells once that a collector does not answer, and once that it does again."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._down = False

    def note(self, *, failed: bool) -> None:
        """Takes down the outcome of an export."""
        if failed and not self._down:
            _log.warning(
                "%s cannot be exported: the collector (OTEL_EXPORTER_OTLP_ENDPOINT) does not "
                "answer; they are dropped until it does",
                self._what,
            )
        elif self._down and not failed:
            _log.info("%s are exported again", self._what)
        self._down = failed


class SpanExporter(OTLPSpanExporter):
    """The SDK's OTLP exporter with an encoder of our own for the mesh's spans."""

    def __init__(self, resource: Resource) -> None:
        _silence()
        super().__init__()
        self._encoder = Encoder(resource)

    def _translate_data(
        self, data: Sequence[RecordedSpan | ReadableSpan]
    ) -> ExportTraceServiceRequest:
        ours = [span for span in data if isinstance(span, RecordedSpan)]
        theirs = [span for span in data if isinstance(span, ReadableSpan)]
        request = super()._translate_data(theirs) if theirs else ExportTraceServiceRequest()
        if ours:
            request.resource_spans.append(self._encoder.encode(ours))
        return request


def _silence() -> None:
    # `Outage` says it once; theirs comes with every attempt.
    logger = logging.getLogger(otlp.__name__)
    if _drop not in logger.filters:
        logger.addFilter(_drop)


def _drop(record: logging.LogRecord) -> bool:
    return False


def make_resource(service_name: str, node: str) -> Resource:
    """Who exports: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before our own names."""
    ours = {
        names.SERVICE_NAME: service_name,
        names.SERVICE_NAMESPACE: "onex",
        names.SERVICE_INSTANCE: str(uuid.uuid4()),
    }
    if node:
        kind, _, name = node.partition("/")
        ours |= {names.NODE_KIND: kind, names.NODE_NAME: name}
    given = Resource.create({}, names.SCHEMA_URL)
    named = {k: v for k, v in ours.items() if not _is_given(given, k)}
    return given.merge(Resource(named))


def _is_given(resource: Resource, key: str) -> bool:
    value = str(resource.attributes.get(key, ""))
    return bool(value) and not value.startswith("unknown_service")


class SpanPipeline:
    """The recorder of a process with its exporter."""

    def __init__(self, resource: Resource, options: BufferOptions) -> None:
        self._exporter = SpanExporter(resource)
        self._outage = Outage("spans")
        self._buffer = Buffer[RecordedSpan | ReadableSpan](options, self._send)
        self.recorder = Recorder(resource, self._buffer)

    def flush(self) -> None:
        """Sends what has ended; blocks."""
        self._buffer.flush()

    def close(self) -> None:
        """Gives up what is not sent."""
        self._buffer.stop()
        self._exporter.shutdown()

    def _send(self, spans: Sequence[RecordedSpan | ReadableSpan]) -> None:
        # The exporter knows the SDK's spans only by name: all it does is to translate them.
        result = self._exporter.export(cast("Sequence[ReadableSpan]", spans))
        self._outage.note(failed=result is not SpanExportResult.SUCCESS)


class MetricPipeline:
    """The thread that sends the histograms, every OTEL_METRIC_EXPORT_INTERVAL (60 s where it is
    absent).
    """

    def __init__(self, metrics: CallMetrics, resource: Resource, interval: float) -> None:
        _silence()
        self._metrics = metrics
        self._resource = resource
        self._interval = interval
        self._exporter = OTLPMetricExporter()
        self._outage = Outage("metrics")
        self._stopped = threading.Event()
        self._sending = threading.Lock()
        threading.Thread(target=self._run, name="onex-metrics", daemon=True).start()

    def flush(self) -> None:
        """Sends the histograms as they are now; blocks."""
        histograms = self._metrics.snapshot()
        if not histograms:
            return
        data = metrics_data(histograms, self._resource, self._metrics.started_ns)
        with self._sending:
            result = self._exporter.export(data)
        self._outage.note(failed=result is not points.MetricExportResult.SUCCESS)

    def close(self) -> None:
        """Ends the thread and closes the connection."""
        self._stopped.set()
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            try:
                self.flush()
            except Exception:
                # A thread that ends would end the export for good.
                _log.exception("metrics could not be exported")


def metrics_data(
    histograms: Sequence[Histogram], resource: Resource, started_ns: int
) -> points.MetricsData:
    """The histograms as the SDK's exporter takes them, cumulative since the start."""
    now = time.time_ns()
    metrics = [
        points.Metric(
            name=name,
            description=f"Duration of calls, {side} side.",
            unit="s",
            data=points.Histogram(
                [_point(h, started_ns, now) for h in histograms if h.series.side == side],
                points.AggregationTemporality.CUMULATIVE,
            ),
        )
        for side, name in _METRICS.items()
    ]
    scope = InstrumentationScope(names.SCOPE, schema_url=names.SCHEMA_URL)
    scoped = points.ScopeMetrics(
        scope, [metric for metric in metrics if metric.data.data_points], names.SCHEMA_URL
    )
    return points.MetricsData([points.ResourceMetrics(resource, [scoped], names.SCHEMA_URL)])


def _point(histogram: Histogram, started_ns: int, now: int) -> points.HistogramDataPoint:
    side, method, status = histogram.series
    attributes = {**names.rpc_attributes(method), names.RPC_STATUS: status}
    if names.is_error(side, status):
        attributes[names.ERROR_TYPE] = status
    return points.HistogramDataPoint(
        attributes=attributes,
        start_time_unix_nano=started_ns,
        time_unix_nano=now,
        count=sum(histogram.counts),
        sum=histogram.total,
        bucket_counts=histogram.counts,
        explicit_bounds=names.DURATION_BOUNDS,
        min=histogram.shortest,
        max=histogram.longest,
    )


def in_background(work: Callable[[], None], done: Callable[[], None]) -> None:
    """Runs blocking work in a daemon thread, so that a collector that hangs cannot keep the
    process alive.
    """

    def run() -> None:
        try:
            work()
        except Exception:
            _log.exception("telemetry could not be flushed")
        finally:
            done()

    threading.Thread(target=run, name="onex-telemetry-flush", daemon=True).start()
