import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex_grpc.telemetry.traceparent import TraceParent, child, new_trace_id, parse, root

HEADER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_header_is_read_and_written() -> None:
    place = parse(HEADER)

    assert place == TraceParent("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1)
    assert str(place) == HEADER
    assert place.sampled


@pytest.mark.parametrize(
    "header",
    [
        "",
        HEADER.upper(),
        HEADER[:-1],
        HEADER + "-x",
        "ff" + HEADER[2:],
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
    ],
)
def test_malformed_header_is_no_place(header: str) -> None:
    assert parse(header) is None


def test_later_version_may_say_more() -> None:
    assert parse("01" + HEADER[2:] + "-more") is not None


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    parse(text)


@pytest.mark.parametrize("sampled", [True, False])
def test_own_places_are_valid(sampled: bool) -> None:
    top = root(new_trace_id(), sampled=sampled)
    below = child(top, sampled=sampled)

    assert parse(str(top)) == top
    assert below.trace_id == top.trace_id
    assert below.span_id != top.span_id
    assert below.sampled is sampled
