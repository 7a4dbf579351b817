"""Traces, durations of calls, logs; OpenTelemetry is loaded only where a collector is set."""

from onex_grpc.telemetry import names
from onex_grpc.telemetry.logs import configure_logging
from onex_grpc.telemetry.names import Side, is_error, rpc_attributes
from onex_grpc.telemetry.span import Attributes, AttributeValue, Span, SpanKind, status_of
from onex_grpc.telemetry.telemetry import NO_TELEMETRY, Telemetry
from onex_grpc.telemetry.tree import SpanRecord, render_tree

__all__ = [
    "NO_TELEMETRY",
    "AttributeValue",
    "Attributes",
    "Side",
    "Span",
    "SpanKind",
    "SpanRecord",
    "Telemetry",
    "configure_logging",
    "is_error",
    "names",
    "render_tree",
    "rpc_attributes",
    "status_of",
]
