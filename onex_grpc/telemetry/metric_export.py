"""Sends the durations of calls to a collector over OTLP/gRPC."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import export as points
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from onex_grpc.telemetry import names
from onex_grpc.telemetry.outage import Outage, silence_exporters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.resources import Resource

    from onex_grpc.telemetry.metrics import CallMetrics, Histogram

_log = logging.getLogger(__name__)
_METRICS: Final[Mapping[names.Side, str]] = {
    "server": names.SERVER_DURATION,
    "client": names.CLIENT_DURATION,
}


class MetricPipeline:
    """The thread that sends the histograms, every OTEL_METRIC_EXPORT_INTERVAL (60 s where it is
    absent).
    """

    def __init__(self, metrics: CallMetrics, resource: Resource, interval: float) -> None:
        silence_exporters()
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
