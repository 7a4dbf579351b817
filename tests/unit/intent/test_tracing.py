"""The spans of an intent's attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.errors import UnavailableError
from onex_grpc.intent import IntentWorker
from onex_grpc.telemetry import SpanKind, Telemetry, names
from onex_grpc.testing.otlp import OtlpReceiver
from tests.unit.intent.bench import CORRELATION, TRACEPARENT, QueueBench, intent

if TYPE_CHECKING:
    import pytest


async def test_each_attempt_is_linked_to_its_emission(
    bench: QueueBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = intent("f")
    attempts = 0

    async def execute(_: object) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise UnavailableError("again")

    with OtlpReceiver() as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        telemetry = Telemetry.from_environment(node="effect/test")
        worker = IntentWorker(
            mesh=bench.mesh,
            queue="reducer",
            worker="effect/test",
            execute=execute,
            telemetry=telemetry,
        )
        worker.start()
        await bench.emit(given)
        await bench.until(lambda stats: stats.completed == 1)
        await worker.stop(1.0)
        await telemetry.shutdown()
        first, second = sorted(receiver.wait_for(2), key=lambda s: s.attributes[names.ATTEMPT])
    _, trace_id, span_id, _ = TRACEPARENT.split("-")
    for span in (first, second):
        assert (span.name, span.kind) == ("process files", SpanKind.CONSUMER)
        assert (span.trace_id, span.parent_id) == (trace_id, span_id)
        assert list(span.links) == [(trace_id, span_id)]
        assert span.attributes[names.CORRELATION_ID] == CORRELATION
        assert span.attributes[names.MESSAGING_MESSAGE_ID] == given.intent_id
        assert span.attributes[names.MESSAGING_OPERATION_TYPE] == "process"
        assert span.attributes[names.MESSAGING_DESTINATION] == "files"
    assert first.error
    assert not second.error
