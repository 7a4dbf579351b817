"""A collector for tests and demos: a real OTLP/gRPC receiver on a real socket that keeps what it
gets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Self

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc
from opentelemetry.proto.trace.v1 import trace_pb2 as spans_pb2

from onex_grpc.telemetry import AttributeValue, SpanKind, SpanRecord, names

if TYPE_CHECKING:
    from types import TracebackType

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

_KINDS: Final = {
    spans_pb2.Span.SPAN_KIND_INTERNAL: SpanKind.INTERNAL,
    spans_pb2.Span.SPAN_KIND_SERVER: SpanKind.SERVER,
    spans_pb2.Span.SPAN_KIND_CLIENT: SpanKind.CLIENT,
    spans_pb2.Span.SPAN_KIND_PRODUCER: SpanKind.PRODUCER,
    spans_pb2.Span.SPAN_KIND_CONSUMER: SpanKind.CONSUMER,
}

Wanted = int | Callable[[Sequence[SpanRecord]], bool]


class OtlpReceiver:
    """Receives spans and metrics; a context manager, usable from several threads and from asyncio.

    Give `endpoint` to processes as OTEL_EXPORTER_OTLP_ENDPOINT (`environment` has it with short
    export intervals).

    Attributes:
        endpoint: the address, as `http://127.0.0.1:port`.
    """

    def __init__(self, port: int = 0) -> None:
        self._changed = threading.Condition()
        self._spans: list[SpanRecord] = []
        self._metrics: list[Metric] = []
        self._server = grpc.server(
            ThreadPoolExecutor(max_workers=4, thread_name_prefix="otlp-receiver"),
            options=[("grpc.so_reuseport", 0)],
        )
        trace_grpc.add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call]
            _Traces(self), self._server
        )
        metrics_grpc.add_MetricsServiceServicer_to_server(  # type: ignore[no-untyped-call]
            _Metrics(self), self._server
        )
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port(f'127.0.0.1:{port}')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop(grace=0).wait()

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make a process export here, within 200 ms."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
        }

    @property
    def spans(self) -> Sequence[SpanRecord]:
        """All spans so far, in the order of their arrival."""
        with self._changed:
            return tuple(self._spans)

    @property
    def metrics(self) -> Sequence[Metric]:
        """All metrics so far, as they came."""
        with self._changed:
            return tuple(self._metrics)

    def wait_for(self, wanted: Wanted, timeout: float = 10.0) -> Sequence[SpanRecord]:
        """Blocks until so many spans are here, or until the predicate over all of them holds;
        returns all.

        Raises:
            TimeoutError: with the names of the spans that did come.
        """
        with self._changed:
            done = self._changed.wait_for(lambda: _holds(wanted, self._spans), timeout)
            if not done:
                came = ", ".join(span.name for span in self._spans) or "none"
                raise TimeoutError(f"the spans did not come within {timeout} s; came: {came}")
            return tuple(self._spans)

    def wait_for_metrics(
        self, wanted: Callable[[Sequence[Metric]], bool], timeout: float = 10.0
    ) -> Sequence[Metric]:
        """Blocks until the predicate over all metrics holds; returns all.

        Raises:
            TimeoutError: when it does not hold in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: wanted(self._metrics), timeout):
                raise TimeoutError(f"the metrics did not come within {timeout} s")
            return tuple(self._metrics)

    def clear(self) -> None:
        """Forgets what has come."""
        with self._changed:
            self._spans.clear()
            self._metrics.clear()

    def add_spans(self, spans: Sequence[SpanRecord]) -> None:
        """Takes in spans."""
        with self._changed:
            self._spans.extend(spans)
            self._changed.notify_all()

    def add_metrics(self, metrics: Sequence[Metric]) -> None:
        """Takes in metrics."""
        with self._changed:
            self._metrics.extend(metrics)
            self._changed.notify_all()


def _holds(wanted: Wanted, spans: Sequence[SpanRecord]) -> bool:
    return len(spans) >= wanted if isinstance(wanted, int) else wanted(spans)


class _Traces(trace_grpc.TraceServiceServicer):
    def __init__(self, receiver: OtlpReceiver) -> None:
        self._receiver = receiver

    def Export(
        self, request: trace_pb2.ExportTraceServiceRequest, context: object
    ) -> trace_pb2.ExportTraceServiceResponse:
        self._receiver.add_spans(
            [
                _record(span, _attributes(resource.resource.attributes))
                for resource in request.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            ]
        )
        return trace_pb2.ExportTraceServiceResponse()


class _Metrics(metrics_grpc.MetricsServiceServicer):
    def __init__(self, receiver: OtlpReceiver) -> None:
        self._receiver = receiver

    def Export(
        self, request: metrics_pb2.ExportMetricsServiceRequest, context: object
    ) -> metrics_pb2.ExportMetricsServiceResponse:
        self._receiver.add_metrics(
            [
                metric
                for resource in request.resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
            ]
        )
        return metrics_pb2.ExportMetricsServiceResponse()


def _record(span: spans_pb2.Span, resource: dict[str, AttributeValue]) -> SpanRecord:
    kind, name = resource.get(names.NODE_KIND, ""), resource.get(names.NODE_NAME, "")
    return SpanRecord(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        kind=_KINDS[span.kind],
        service=str(resource.get(names.SERVICE_NAME, "")),
        node=f"{kind}/{name}" if kind else "",
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        error=span.status.code == spans_pb2.Status.STATUS_CODE_ERROR,
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
    )


def _attributes(pairs: Sequence[KeyValue]) -> dict[str, AttributeValue]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> AttributeValue:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "bool_value":
            return value.bool_value
        case _:
            return str(value)
