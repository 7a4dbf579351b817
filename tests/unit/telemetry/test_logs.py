import json
import logging
import sys
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex_grpc.context import CallContext, enter_call
from onex_grpc.errors import ConfigurationError
from onex_grpc.telemetry import configure_logging
from onex_grpc.telemetry.logs import JsonFormatter
from onex_grpc.telemetry.redaction import redact, redact_text

CORRELATION = "0b1f3f6e-96b1-4a9e-9a5c-0f6d7a1c2b3d"


def line(message: str, extra: Mapping[str, object] | None = None) -> dict[str, object]:
    record = logging.makeLogRecord({"name": "shop", "levelname": "INFO", "msg": message})
    vars(record).update(extra or {})
    parsed = json.loads(JsonFormatter("reducer/orders").format(record))
    assert isinstance(parsed, dict)
    return parsed


async def test_line_names_call_trace_and_node() -> None:
    enter_call(
        CallContext(CORRELATION, traceparent=f"00-{'a' * 32}-{'b' * 16}-01", workflow_id="order-7")
    )

    written = line("sold", {"order": 7})

    assert written["message"] == "sold"
    assert written["node"] == "reducer/orders"
    assert written["correlation_id"] == CORRELATION
    assert written["trace_id"] == "a" * 32
    assert written["span_id"] == "b" * 16
    assert written["workflow_id"] == "order-7"
    assert written["order"] == 7
    assert str(written["time"]).endswith("+00:00")


def test_line_outside_a_call_names_no_call() -> None:
    assert not {"correlation_id", "trace_id"} & line("started").keys()


def test_line_about_a_past_call_names_it() -> None:
    assert line("late", {"correlation_id": CORRELATION})["correlation_id"] == CORRELATION


def test_exception_stands_in_the_line() -> None:
    try:
        raise ValueError("dsn=postgresql://me:hunter2@db/x")
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    text = JsonFormatter().format(record)

    assert "ValueError" in text
    assert "hunter2" not in text
    assert "\n" not in text


secret = st.text("abcdefghijkmnopqrstuvwxyz0123456789", min_size=12, max_size=24).map("S".__add__)


@given(secret)
def test_secrets_are_taken_out(planted: str) -> None:
    texts = [
        f"connecting to postgresql://shop:{planted}@db.example/shop",
        f"redis://{planted}@cache",
        f"password={planted}",
        f'{{"token": "{planted}"}}',
        f"Authorization: Bearer {planted}",
        f"api_key='{planted}'",
        f"lease eyJhbGciOiJFZERTQSJ9.{planted}.{planted} refused",
    ]
    for text in texts:
        assert planted not in redact_text(text)
        assert planted not in json.dumps(line(text))
    nested = {
        "target": {"dsn": planted, "options": [{"Password": planted}]},
        "lease_token": planted,
    }
    assert planted not in json.dumps(redact(nested))
    assert planted not in json.dumps(line("x", {"lease_token": planted, "settings": nested}))


def test_other_values_stay() -> None:
    text = "order 7 of customer-3@example.invalid sold at http://shop.example/orders for 28.50"
    assert redact_text(text) == text
    assert redact({"count": 3, "tags": ["a"], "key": "orders/7"}) == {
        "count": 3,
        "tags": ["a"],
        "key": "orders/7",
    }


def test_unknown_level_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'loud'"):
        configure_logging(level="loud")


class Unsayable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@given(
    st.text(st.characters()),
    st.dictionaries(st.sampled_from(["order", "file"]), st.text(st.characters())),
)
def test_a_line_can_always_be_written(message: str, extra: dict[str, str]) -> None:
    record = logging.makeLogRecord({"name": "shop", "levelname": "INFO", "msg": message, **extra})
    text = JsonFormatter("reducer/orders").format(record)

    assert json.loads(text.encode())["logger"] == "shop"


def test_what_cannot_be_said_does_not_cost_the_line() -> None:
    record = logging.makeLogRecord({"msg": "%s failed", "args": (Unsayable(),)})
    vars(record)["order"] = Unsayable()
    written = json.loads(JsonFormatter().format(record))

    assert written["message"] == "%s failed"
    assert written["order"] == "(Unsayable, which cannot be shown)"
