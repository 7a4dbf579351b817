"""What the log tells of a peer that comes, goes and returns."""

from types import SimpleNamespace

import pytest

from onex_grpc.errors import NodeUnavailableError, OnexError
from onex_grpc.rpc.contact import Contact

GONE = NodeUnavailableError("failed to connect")
GOODBYE = NodeUnavailableError("the queue is stopping", node="reducer/orders")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock; what is in it is the time."""
    time = [100.0]
    clock = SimpleNamespace(monotonic=lambda: time[0])
    monkeypatch.setattr("onex_grpc.rpc.contact.time", clock)
    return time


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return level and text of what was logged, and forget it."""
    lines = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
    caplog.clear()
    return lines


@pytest.fixture(autouse=True)
def level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


def test_a_loss_is_told_once_and_so_is_the_return(
    now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    peer = Contact("queue reducer")
    peer.answered()
    for _ in range(3):
        peer.failed(GONE)
        now[0] += 60
    peer.answered()
    peer.broke("the stream ended")
    assert told(caplog) == [
        "WARNING queue reducer is lost: failed to connect; connecting again",
        "INFO queue reducer is back",
        "WARNING queue reducer is lost: the stream ended; connecting again",
    ]


def test_a_peer_that_starts_later_is_waited_for(
    now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    peer = Contact("queue reducer")
    for _ in range(9):
        peer.failed(GONE)
        now[0] += 1
    peer.answered()
    assert told(caplog) == []


def test_a_peer_that_never_comes_is_told_of(
    now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    peer = Contact("queue reducer")
    for _ in range(60):
        peer.failed(GONE)
        now[0] += 1
    assert told(caplog) == [
        "WARNING queue reducer cannot be reached: failed to connect; trying again"
    ]


@pytest.mark.parametrize("answers", [True, False])
def test_a_goodbye_is_no_loss_unless_nobody_returns(
    now: list[float], caplog: pytest.LogCaptureFixture, answers: bool
) -> None:
    peer = Contact("queue reducer")
    if answers:
        peer.answered()
    now[0] += 3600
    peer.failed(GOODBYE)
    assert told(caplog) == ["INFO queue reducer does not serve now: the queue is stopping"]
    for _ in range(5):
        peer.failed(GONE)
        now[0] += 1
    assert told(caplog) == []
    now[0] += 10
    peer.failed(GONE)
    assert told(caplog) == [
        "WARNING queue reducer cannot be reached: failed to connect; trying again"
    ]


def test_an_error_that_is_no_goodbye_is_a_loss(caplog: pytest.LogCaptureFixture) -> None:
    peer = Contact("queue reducer")
    peer.answered()
    peer.failed(OnexError("internal error", node="reducer/orders"))
    assert told(caplog) == ["WARNING queue reducer is lost: internal error; connecting again"]
