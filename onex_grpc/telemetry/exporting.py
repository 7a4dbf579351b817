"""Sends spans to a collector over OTLP/gRPC."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, cast

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from onex_grpc.telemetry import names
from onex_grpc.telemetry.buffer import Buffer, BufferOptions
from onex_grpc.telemetry.encoding import Encoder
from onex_grpc.telemetry.outage import Outage, silence_exporters
from onex_grpc.telemetry.recording import RecordedSpan, Recorder

if TYPE_CHECKING:
    from collections.abc import Sequence


class SpanExporter(OTLPSpanExporter):
    """The SDK's OTLP exporter with an encoder of our own for the mesh's spans."""

    def __init__(self, resource: Resource) -> None:
        silence_exporters()
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
