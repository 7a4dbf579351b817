"""Headers that are written are read back; what cannot be carried is refused before it is sent."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex_grpc import headers
from onex_grpc.context import CallContext, LeaseClaim
from onex_grpc.errors import ContractValidationError, ResourceExhaustedError

UUIDS = st.uuids().map(str)
WORKFLOWS = st.from_regex(r"[A-Za-z0-9._:-]{1,128}", fullmatch=True)
NUMBERS = st.integers(min_value=1, max_value=2**63 - 1)
TIMES = st.integers(min_value=1, max_value=headers.LATEST_US)
CALLERS = st.from_regex(r"(effect|compute|reducer|orchestrator)/[a-z0-9-]{1,40}", fullmatch=True)
TRACES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=512)


@st.composite
def calls(draw: st.DrawFn) -> CallContext:
    workflow_id = draw(st.just("") | WORKFLOWS)
    lease, epoch = None, None
    if workflow_id and draw(st.booleans()):
        token = draw(st.from_regex(r"[A-Za-z0-9_.-]{1,200}", fullmatch=True))
        lease = LeaseClaim(workflow_id, draw(UUIDS), draw(NUMBERS), token)
        epoch = draw(st.none() | NUMBERS)
    action_id = draw(st.just("") | UUIDS)
    return CallContext(
        draw(UUIDS),
        action_id=action_id,
        issued_us=draw(st.just(0) | TIMES) if action_id else 0,
        epoch=epoch,
        lease=lease,
        workflow_id=workflow_id,
        tracestate=draw(TRACES),
        baggage=draw(TRACES),
    )


@given(calls(), CALLERS | st.just(""))
def test_what_is_written_is_read(call: CallContext, caller: str) -> None:
    parent = "00-" + "1" * 32 + "-" + "2" * 16 + "-03"
    said = headers.parse(tuple(headers.write(call.correlation_id, parent, caller, call)))
    assert said.correlation_id == call.correlation_id
    assert (said.caller, said.traceparent) == (caller, parent)
    assert (said.action_id, said.workflow_id) == (call.action_id, call.workflow_id)
    assert said.issued_us == call.issued_us
    assert (said.lease, said.epoch) == (call.lease, call.epoch)
    assert (said.tracestate, said.baggage) == (call.tracestate, call.baggage)


@given(st.dictionaries(st.sampled_from(sorted(headers._FORMS)), st.text(max_size=40)))
def test_any_text_is_read_or_refused_with_its_name(fields: dict[str, str]) -> None:
    try:
        headers.parse(tuple(fields.items()))
    except ContractValidationError as error:
        named = {violation.field for violation in error.violations}
        assert named <= {*headers._FORMS, headers.LEASE_TOKEN}


def test_uuids_are_lower_cased() -> None:
    text = str(uuid.UUID(int=0xABCDEF << 100)).upper()
    assert headers.parse(((headers.CORRELATION_ID, text),)).correlation_id == text.lower()


def test_other_metadata_is_left_alone() -> None:
    said = headers.parse((("user-agent", "x"), ("blob-bin", b"\xff"), ("dup", "1"), ("dup", "2")))
    assert said == headers.parse(())


@pytest.mark.parametrize(
    "text", ["0" * 1000, "0" * 55, "junk", "00-" + "A" * 32 + "-" + "b" * 16 + "-01"]
)
def test_malformed_traceparent_is_dropped(text: str) -> None:
    assert headers.parse(((headers.TRACEPARENT, text),)).traceparent == ""


def test_traceparent_of_a_later_version_is_kept() -> None:
    text = "01-" + "a" * 32 + "-" + "b" * 16 + "-01-more"
    assert headers.parse(((headers.TRACEPARENT, text),)).traceparent == text


def test_epoch_alone_is_a_partial_lease() -> None:
    with pytest.raises(ContractValidationError) as caught:
        headers.parse(((headers.EPOCH, "1"),))
    assert {v.field for v in caught.value.violations} == set(headers.LEASE_HEADERS)


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "٣", "0", "253402300800000000", "1" * 19, "1 "])
def test_a_time_of_issue_is_microseconds_that_a_timestamp_can_hold(text: str) -> None:
    action = (headers.ACTION_ID, str(uuid.UUID(int=1)))
    with pytest.raises(
        ContractValidationError, match="microseconds since the Unix epoch"
    ) as caught:
        headers.parse((action, (headers.ISSUED_AT, text)))
    assert [v.field for v in caught.value.violations] == [headers.ISSUED_AT]


def test_a_time_of_issue_is_that_of_an_action() -> None:
    with pytest.raises(ContractValidationError, match=headers.ACTION_ID) as caught:
        headers.parse(((headers.ISSUED_AT, "1"),))
    assert [v.field for v in caught.value.violations] == [headers.ISSUED_AT]
    action = (headers.ACTION_ID, str(uuid.UUID(int=1)))
    with pytest.raises(ContractValidationError, match="more than once"):
        headers.parse((action, (headers.ISSUED_AT, "1"), (headers.ISSUED_AT, "1")))


def test_only_a_repeat_of_an_action_carries_a_time_of_issue() -> None:
    action_id = str(uuid.UUID(int=1))
    for call in (CallContext(action_id, action_id=action_id), CallContext(action_id, issued_us=1)):
        written = headers.write(call.correlation_id, "", "", call)
        assert headers.ISSUED_AT not in dict(written)


@pytest.mark.parametrize("issued_us", [-1, headers.LATEST_US + 1])
def test_a_time_of_issue_out_of_range_is_not_written(issued_us: int) -> None:
    action_id = str(uuid.UUID(int=1))
    call = CallContext(action_id, action_id=action_id, issued_us=issued_us)
    with pytest.raises(ContractValidationError, match=headers.ISSUED_AT):
        headers.write(call.correlation_id, "", "", call)


def test_all_headers_at_their_longest_are_within_the_limit_or_refused() -> None:
    lease = LeaseClaim("w" * 128, str(uuid.UUID(int=1)), 2**63 - 1, "x" * 600)
    call = CallContext(
        str(uuid.UUID(int=1)),
        action_id=str(uuid.UUID(int=1)),
        epoch=2**63 - 1,
        lease=lease,
        workflow_id="w" * 128,
        issued_us=headers.LATEST_US,
    )
    with pytest.raises(ResourceExhaustedError, match="together"):
        headers.write(call.correlation_id, "", "c" * 128, call)


@pytest.mark.parametrize("text", ["grün", "line\nbreak", "\x7f"])
def test_text_that_gRPC_does_not_carry_is_not_written(text: str) -> None:
    call = CallContext(str(uuid.UUID(int=1)), workflow_id=text)
    with pytest.raises(ContractValidationError, match=headers.WORKFLOW_ID):
        headers.write(call.correlation_id, "", "", call)


def test_headers_beyond_the_limit_are_not_written() -> None:
    lease = LeaseClaim("w", str(uuid.UUID(int=1)), 1, "x" * 1000)
    call = CallContext(str(uuid.UUID(int=1)), lease=lease, workflow_id="w")
    with pytest.raises(ResourceExhaustedError, match=headers.LEASE_TOKEN):
        headers.write(call.correlation_id, "", "", call)
    call = CallContext(str(uuid.UUID(int=1)), baggage="x" * 513)
    with pytest.raises(ResourceExhaustedError, match="baggage has 513 bytes"):
        headers.write(call.correlation_id, "", "", call)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Upper", "x"),
        ("sp ace", "x"),
        ("grpc-own", "x"),
        ("data", b"x"),
        ("data-bin", "x"),
        ("a", "ü"),
    ],
)
def test_metadata_of_users_is_checked(name: str, text: str | bytes) -> None:
    with pytest.raises(ContractValidationError) as caught:
        headers.check([(name, text)])
    assert caught.value.violations[0].field == name
