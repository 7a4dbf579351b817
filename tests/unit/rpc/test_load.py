"""The count of the last minute's calls, for the health of a node."""

from __future__ import annotations

import asyncio

import pytest

from onex_grpc.errors import NodeUnavailableError
from onex_grpc.rpc.calls import CallRuntime, Load
from onex_grpc.telemetry import NO_TELEMETRY


@pytest.fixture
def runtime() -> CallRuntime:
    return CallRuntime(node="compute/a", telemetry=NO_TELEMETRY)


def finish(runtime: CallRuntime, now: float, *, failed: bool = False) -> None:
    """One call that ended at a time."""
    runtime.begin()
    runtime.finish(now, failed=failed)


def test_calls_are_forgotten_after_a_minute(
    runtime: CallRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.5
    monkeypatch.setattr("onex_grpc.rpc.calls.time.monotonic", lambda: now)
    for second in range(30):
        finish(runtime, 1000.5 + second, failed=second % 3 == 0)
    now = 1030.0
    assert runtime.load() == Load(30, 10)
    assert runtime.error_rate() == pytest.approx(1 / 3)
    now = 1075.9
    # Those of the seconds 1016 to 1029 are left.
    assert runtime.load() == Load(14, 4)
    now = 1200.0
    assert runtime.load() == Load(0, 0)
    assert runtime.error_rate() == 0.0


async def test_idle_once_the_last_call_has_ended(runtime: CallRuntime) -> None:
    runtime.begin()
    runtime.refuse_new()
    with pytest.raises(NodeUnavailableError):
        runtime.refuse_if_draining()
    assert not await runtime.wait_idle(0.01)
    waiting = asyncio.ensure_future(runtime.wait_idle(5))
    runtime.finish(0.0, failed=False)
    assert await waiting
