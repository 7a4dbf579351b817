"""Telemetry over a real socket to a real OTLP receiver."""

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from opentelemetry import trace

from onex_grpc.context import CallContext, current_call, enter_call
from onex_grpc.errors import ConfigurationError, StaleFenceError
from onex_grpc.telemetry import NO_TELEMETRY, SpanKind, Telemetry, names, rpc_attributes
from onex_grpc.testing.otlp import OtlpReceiver

METHOD = "onex.v1.NodeService/DescribeNode"
CORRELATION = "0b1f3f6e-96b1-4a9e-9a5c-0f6d7a1c2b3d"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpReceiver]:
    for name in ("OTEL_TRACES_SAMPLER", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)
    with OtlpReceiver() as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        yield receiver


async def test_spans_arrive_as_one_tree(receiver: OtlpReceiver) -> None:
    telemetry = Telemetry.from_environment(node="reducer/orders")
    common = rpc_attributes(METHOD)
    client = telemetry.start_span(
        METHOD, SpanKind.CLIENT, correlation_id=CORRELATION, attributes=common
    )
    server = telemetry.start_span(
        METHOD,
        SpanKind.SERVER,
        parent=client.traceparent,
        correlation_id=CORRELATION,
        attributes=common,
    )
    server.set(names.WORKFLOW_ID, "order-7")
    server.end("FAILED_PRECONDITION")
    server.end("INTERNAL")
    client.end("FAILED_PRECONDITION")
    telemetry.start_span("process orders", SpanKind.CONSUMER, links=[server.traceparent]).end()
    await telemetry.shutdown()

    spans = {span.kind: span for span in receiver.wait_for(3)}
    up, down, intent = (spans[k] for k in (SpanKind.CLIENT, SpanKind.SERVER, SpanKind.CONSUMER))
    assert len(receiver.spans) == 3
    assert (down.trace_id, down.parent_id) == (up.trace_id, up.span_id)
    assert up.error
    assert not down.error
    assert down.attributes == {
        names.RPC_SYSTEM: "grpc",
        names.RPC_METHOD: METHOD,
        names.RPC_STATUS: "FAILED_PRECONDITION",
        names.CORRELATION_ID: CORRELATION,
        names.WORKFLOW_ID: "order-7",
    }
    assert up.attributes[names.ERROR_TYPE] == "FAILED_PRECONDITION"
    assert (down.service, down.node) == ("onex.reducer.orders", "reducer/orders")
    assert intent.trace_id != down.trace_id
    assert intent.links == ((down.trace_id, down.span_id),)


async def test_block_is_the_parent_of_what_happens_in_it(receiver: OtlpReceiver) -> None:
    telemetry = Telemetry.from_environment(service_name="shop")
    enter_call(CallContext(CORRELATION))

    async def fail() -> None:
        with telemetry.start_span("step", SpanKind.INTERNAL) as step:
            call = current_call()
            assert call is not None
            assert call.traceparent == step.traceparent
            trace.get_current_span().set_attribute("mine", 7)
            raise StaleFenceError("token=hunter2")

    with pytest.raises(StaleFenceError):
        await fail()
    call = current_call()
    assert call is not None
    assert call.traceparent == ""
    await telemetry.shutdown()

    [span] = receiver.wait_for(1)
    assert span.error
    assert span.attributes == {"mine": 7, names.ERROR_TYPE: "FAILED_PRECONDITION"}
    assert span.service == "shop"


async def test_secrets_do_not_leave(receiver: OtlpReceiver) -> None:
    telemetry = Telemetry.from_environment()
    attributes = {"lease_token": "hunter2", "target": "postgresql://me:hunter2@db/shop"}
    telemetry.start_span("x", SpanKind.INTERNAL, attributes=attributes).end()
    await telemetry.shutdown()

    [span] = receiver.wait_for(1)
    assert "hunter2" not in str(span)


FOREIGN = """
import asyncio
from opentelemetry import trace
from onex_grpc.context import CallContext, enter_call
from onex_grpc.telemetry import SpanKind, Telemetry

async def main():
    enter_call(CallContext("c-1"))
    telemetry = Telemetry.from_environment(service_name="shop")
    telemetry.install()
    with telemetry.start_span("ours", SpanKind.INTERNAL, correlation_id="c-1") as span:
        with trace.get_tracer("library").start_as_current_span("theirs"):
            pass
        current = trace.get_current_span()
        current.set_attributes({"number": 7, "ratio": 0.5, "yes": True, "names": ["a", "b"]})
        current.add_event("noted", {"dsn": "hunter2"})
        current.record_exception(ValueError("hunter2"))
        current.update_name("ours, renamed")
    await telemetry.shutdown()

asyncio.run(main())
"""


def test_spans_of_other_opentelemetry_code_join_the_trace(receiver: OtlpReceiver) -> None:
    # In a process of its own, for OpenTelemetry's global provider can be set but once.
    subprocess.run([sys.executable, "-c", FOREIGN], check=True)

    spans = {span.name: span for span in receiver.wait_for(2)}
    ours, theirs = spans["ours, renamed"], spans["theirs"]
    assert (theirs.trace_id, theirs.parent_id) == (ours.trace_id, ours.span_id)
    assert theirs.service == ours.service == "shop"
    assert [s.attributes[names.CORRELATION_ID] for s in (ours, theirs)] == ["c-1", "c-1"]
    assert [ours.attributes[k] for k in ("number", "ratio", "yes")] == [7, 0.5, True]
    assert "hunter2" not in str(spans)


async def test_sampling_is_decided_at_the_root(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.2")
    telemetry = Telemetry.from_environment()
    roots = [telemetry.start_span("root", SpanKind.CLIENT) for _ in range(300)]
    kept = [span for span in roots if span.recording]
    for top in roots:
        below = telemetry.start_span("child", SpanKind.SERVER, parent=top.traceparent)
        assert below.recording is top.recording
        assert below.traceparent[:35] == top.traceparent[:35]
        below.end()
        top.end()
    await telemetry.shutdown()

    assert 20 <= len(kept) <= 120
    assert len(receiver.wait_for(2 * len(kept))) == 2 * len(kept)


async def test_durations_arrive_under_the_standard_names(receiver: OtlpReceiver) -> None:
    telemetry = Telemetry.from_environment(node="compute/pricing")
    telemetry.record_call("server", METHOD, "OK", 0.003)
    telemetry.record_call("server", METHOD, "OK", 0.3)
    telemetry.record_call("client", METHOD, "ABORTED", 0.02)
    await telemetry.shutdown()

    metrics = {m.name: m for m in receiver.wait_for_metrics(lambda came: len(came) >= 2)}
    [server] = metrics[names.SERVER_DURATION].histogram.data_points
    [client] = metrics[names.CLIENT_DURATION].histogram.data_points
    assert metrics[names.SERVER_DURATION].unit == "s"
    assert (server.count, server.sum, server.bucket_counts[0]) == (2, 0.303, 1)
    assert tuple(server.explicit_bounds) == names.DURATION_BOUNDS
    assert {a.key: a.value.string_value for a in client.attributes} == {
        names.RPC_SYSTEM: "grpc",
        names.RPC_METHOD: METHOD,
        names.RPC_STATUS: "ABORTED",
        names.ERROR_TYPE: "ABORTED",
    }


async def test_absent_collector_is_told_once_and_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with OtlpReceiver() as gone:
        pass
    for name, value in gone.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    # In seconds: the time for one batch with its repeats.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    caplog.set_level(logging.DEBUG)
    telemetry = Telemetry.from_environment()
    assert telemetry.recorder is not None

    for _ in range(3):
        telemetry.start_span("lost", SpanKind.INTERNAL).end()
        await asyncio.to_thread(telemetry.recorder.buffer.flush)
    started = time.monotonic()
    await telemetry.shutdown(timeout=1.0)

    assert time.monotonic() - started < 2.0
    told = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert [r.name for r in told] == ["onex_grpc.telemetry.outage"]


async def test_nothing_is_recorded_without_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for telemetry in (Telemetry.from_environment(), NO_TELEMETRY):
        parent = f"00-{'a' * 32}-{'b' * 16}-01"
        span = telemetry.start_span("x", SpanKind.SERVER, parent=parent)
        assert not span.recording
        # The callee may record what this process does not.
        assert span.traceparent == parent
        await telemetry.shutdown()


def test_sdk_is_not_loaded_without_a_collector() -> None:
    program = (
        "import sys; from onex_grpc.telemetry import Telemetry; Telemetry.from_environment();"
        "sys.exit(any(name.startswith(('opentelemetry', 'grpc')) for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], env={}, check=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
    ],
)
def test_setting_that_cannot_be_used_is_named(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"{name}={value}"):
        Telemetry.from_environment()


async def test_what_otlp_cannot_hold_costs_no_other_span(receiver: OtlpReceiver) -> None:
    telemetry = Telemetry.from_environment(node="reducer/orders")
    odd = telemetry.start_span("odd \udce9", SpanKind.INTERNAL, correlation_id=CORRELATION)
    odd.set("big", 2**64)
    odd.set("file", "caf\udce9.csv")
    odd.set(names.REASON, "\udce9")
    odd.set("order", "7")
    odd.end("INTERNAL", error=True, description="caf\udce9.csv is not there")
    telemetry.start_span("fine", SpanKind.INTERNAL, correlation_id=CORRELATION).end()
    await telemetry.shutdown()

    spans = {span.name: span for span in receiver.wait_for(2)}
    assert set(spans) == {"odd \\udce9", "fine"}
    assert spans["odd \\udce9"].attributes["order"] == "7"
    assert "big" not in spans["odd \\udce9"].attributes
