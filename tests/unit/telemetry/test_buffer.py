import logging
import threading
from collections.abc import Sequence

import pytest

from onex_grpc.errors import ConfigurationError
from onex_grpc.telemetry.buffer import Buffer, BufferOptions

NEVER = 3600.0


class Sink:
    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.came = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def send(self, items: Sequence[int]) -> None:
        self.open.wait(10)
        self.batches.append(list(items))
        self.came.set()


def test_full_batch_is_sent_at_once() -> None:
    sink = Sink()
    buffer = Buffer[int](BufferOptions(delay=NEVER, batch=3, capacity=100), sink.send)
    for item in range(3):
        buffer.put(item)

    assert sink.came.wait(10)
    buffer.stop()
    assert sink.batches == [[0, 1, 2]]


def test_rest_is_sent_after_the_delay() -> None:
    sink = Sink()
    buffer = Buffer[int](BufferOptions(delay=0.01, batch=3, capacity=100), sink.send)
    buffer.put(7)

    assert sink.came.wait(10)
    buffer.stop()
    assert sink.batches == [[7]]


def test_flush_sends_all_in_order() -> None:
    sink = Sink()
    buffer = Buffer[int](BufferOptions(delay=NEVER, batch=4, capacity=100), sink.send)
    for item in range(10):
        buffer.put(item)
    buffer.flush()
    buffer.stop()

    assert [item for batch in sink.batches for item in batch] == list(range(10))
    assert max(map(len, sink.batches)) <= 4


def test_what_is_too_much_is_dropped_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink()
    buffer = Buffer[int](BufferOptions(delay=NEVER, batch=100, capacity=5), sink.send)
    for item in range(20):
        buffer.put(item)
    buffer.flush()
    buffer.stop()

    assert sink.batches == [[0, 1, 2, 3, 4]]
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "OTEL_BSP_MAX_QUEUE_SIZE" in caplog.text


def test_failure_to_send_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink()

    def fail_once(items: Sequence[int]) -> None:
        if items[0] == 0:
            raise ValueError("a span that cannot be encoded")
        sink.send(items)

    buffer = Buffer[int](BufferOptions(delay=0.01, batch=1, capacity=5), fail_once)
    buffer.put(0)
    buffer.put(1)

    assert sink.came.wait(10)
    buffer.stop()
    assert sink.batches == [[1]]
    assert "1 spans could not be exported" in caplog.text


def test_options_are_those_of_the_specification() -> None:
    assert BufferOptions.of({}) == BufferOptions(delay=5.0, batch=512, capacity=8192)
    assert BufferOptions.of(
        {
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_BSP_MAX_QUEUE_SIZE": "10",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "20",
        }
    ) == BufferOptions(delay=0.1, batch=10, capacity=10)
    with pytest.raises(ConfigurationError, match="OTEL_BSP_SCHEDULE_DELAY=-1"):
        BufferOptions.of({"OTEL_BSP_SCHEDULE_DELAY": "-1"})
