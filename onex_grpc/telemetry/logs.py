"""Logs as one JSON object a line, with the ids of the call, the trace and the node."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

from onex_grpc import carriable
from onex_grpc.context import current_call
from onex_grpc.errors import ConfigurationError
from onex_grpc.telemetry.redaction import REDACTED, is_secret, redact, redact_text
from onex_grpc.telemetry.traceparent import parse

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "correlation_id",
}
_LEVELS: Final = ("debug", "info", "warning", "error", "critical")


class JsonFormatter(logging.Formatter):
    """Writes a record as JSON: time, level, logger, message, the ids of the current call, and the
    record's extras.

    Secrets are taken out by the names under which they stand and by their shape
    (`telemetry.redaction`).
    """

    def __init__(self, node: str = "") -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact_text(_message(record)),
        }
        if self._node:
            line["node"] = self._node
        line.update(_ids(record))
        for key, value in vars(record).items():
            if key not in _STANDARD and not key.startswith("_"):
                line[key] = REDACTED if is_secret(key) else redact(value)
        if record.exc_info:
            line["exception"] = redact_text(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = redact_text(record.stack_info)
        text = json.dumps(line, ensure_ascii=False, default=carriable.text)
        # A lone surrogate becomes its escape in JSON; stderr could not take it, and lose the line.
        return text.encode(errors="backslashreplace").decode()


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        # The code of what is logged fails; the line is worth more without it than not at all.
        return carriable.text(record.msg)


def _ids(record: logging.LogRecord) -> dict[str, str]:
    call = current_call()
    ids: dict[str, str] = {}
    # A line about a call that is over names it by `extra`.
    correlation_id = getattr(record, "correlation_id", "") or (call.correlation_id if call else "")
    if correlation_id:
        ids["correlation_id"] = str(correlation_id)
    if call is None:
        return ids
    if call.workflow_id:
        ids["workflow_id"] = call.workflow_id
    place = parse(call.traceparent) if call.traceparent else None
    if place is not None:
        ids |= {"trace_id": place.trace_id, "span_id": place.span_id}
    return ids


def configure_logging(*, node: str = "", level: str = "info") -> None:
    """Makes the root logger write JSON lines to stderr.

    Args:
        node: the node as `kind/name`, written on every line.
        level: debug, info, warning, error or critical.

    Raises:
        ConfigurationError: for an unknown level.
    """
    if level.lower() not in _LEVELS:
        raise ConfigurationError(f"log level {level!r} is unknown; use one of {', '.join(_LEVELS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(node))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
