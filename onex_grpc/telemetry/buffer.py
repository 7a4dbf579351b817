"""Ended spans on their way to the collector: bounded, and sent in batches by a
thread of its own.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from onex_grpc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BufferOptions:
    """How spans are batched (the OTEL_BSP_* variables of the OpenTelemetry specification).

    Attributes:
        delay: seconds between two batches.
        batch: spans of one batch at most; so many are sent at once.
        capacity: spans that wait at most; what comes beyond is dropped.
    """

    delay: float
    batch: int
    capacity: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> BufferOptions:
        """The options that the environment sets; raises ConfigurationError for what is no number
        above 0.
        """
        delay = _number(environment, "OTEL_BSP_SCHEDULE_DELAY", 5000)
        capacity = _number(environment, "OTEL_BSP_MAX_QUEUE_SIZE", 8192)
        batch = _number(environment, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)
        return cls(delay / 1000, min(batch, capacity), capacity)


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not int(text):
        raise ConfigurationError(f"{name}={text}: give a whole number above 0")
    return int(text)


class Buffer(Generic[T]):
    """Takes items from any thread and hands them to `send` in batches."""

    def __init__(self, options: BufferOptions, send: Callable[[Sequence[T]], None]) -> None:
        self._options = options
        self._send = send
        self._items: deque[T] = deque()
        self._wake = threading.Event()
        self._stopped = False
        self._full = False
        # One sender at a time, so that a flush returns only when the batch before it is sent too.
        self._sending = threading.Lock()
        threading.Thread(target=self._run, name="onex-spans", daemon=True).start()

    def put(self, item: T) -> None:
        """Adds an item; drops it when too many wait."""
        waiting = len(self._items)
        if waiting >= self._options.capacity:
            if not self._full:
                self._full = True
                _log.warning(
                    "%d spans wait for the collector; more are dropped until it catches up "
                    "(OTEL_BSP_MAX_QUEUE_SIZE, or sample fewer: OTEL_TRACES_SAMPLER_ARG)",
                    waiting,
                )
            return
        self._items.append(item)
        if waiting + 1 >= self._options.batch and not self._wake.is_set():
            self._wake.set()

    def flush(self) -> None:
        """Sends all that waits; blocks."""
        with self._sending:
            while self._items and not self._stopped:
                self._send_batch()

    def stop(self) -> None:
        """Ends the thread; what still waits is dropped."""
        self._stopped = True
        self._wake.set()

    def _run(self) -> None:
        while not self._stopped:
            self._wake.wait(self._options.delay)
            self._wake.clear()
            with self._sending:
                if self._items and not self._stopped:
                    self._send_batch()
                while len(self._items) >= self._options.batch and not self._stopped:
                    self._send_batch()

    def _send_batch(self) -> None:
        size = min(len(self._items), self._options.batch)
        batch = [self._items.popleft() for _ in range(size)]
        self._full = False
        try:
            self._send(batch)
        except Exception:
            # A thread that ends would end the export for good.
            _log.exception("%d spans could not be exported", len(batch))
