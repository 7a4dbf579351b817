"""What a collector that does not answer must not do: fill the log, or hold the process up."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.grpc import exporter as otlp

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)


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


def silence_exporters() -> None:
    """Drops the exporters' own lines of log."""
    # `Outage` says it once; theirs comes with every attempt.
    logger = logging.getLogger(otlp.__name__)
    if _drop not in logger.filters:
        logger.addFilter(_drop)


def _drop(record: logging.LogRecord) -> bool:
    return False


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
