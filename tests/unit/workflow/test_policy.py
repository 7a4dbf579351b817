"""How often and how soon a failed step is retried."""

from __future__ import annotations

import pytest

from onex.v1 import common_pb2, orchestrator_pb2
from onex_grpc.errors import NodeUnavailableError, OutcomeUnknownError
from onex_grpc.workflow.policy import FailurePolicy

Resolution = orchestrator_pb2.ConflictResolution


def policy(**fields: object) -> FailurePolicy:
    conditions = ["NODE_UNAVAILABLE", "UNKNOWN"]
    return FailurePolicy(
        Resolution(retry_enabled=True, retry_conditions=conditions, **fields)  # type: ignore[arg-type]
    )


def test_waits_grow_up_to_the_longest_with_jitter() -> None:
    config = common_pb2.RetryPolicy(max_retries=100, multiplier=3.0)
    config.initial_backoff.FromMilliseconds(200)
    config.max_backoff.FromSeconds(5)
    chosen = policy(retry_config=config)
    for attempts, longest in ((1, 0.2), (2, 0.6), (3, 1.8), (4, 5.0), (100, 5.0)):
        delay = chosen.retry_delay(NodeUnavailableError("away"), attempts)
        assert delay is not None
        assert longest / 2 <= delay <= longest
    assert chosen.retry_delay(NodeUnavailableError("away"), 101) is None


def test_the_defaults_are_three_retries_from_100_ms() -> None:
    delays = [policy().retry_delay(NodeUnavailableError("away"), n) for n in (1, 2, 3, 4)]
    assert delays[3] is None
    assert all(
        d is not None and base / 2 <= d <= base
        for d, base in zip(delays, (0.1, 0.2, 0.4), strict=False)
    )


def test_what_the_server_asks_for_is_waited() -> None:
    delay = policy().retry_delay(NodeUnavailableError("away", retry_after=2.0), 1)
    assert delay is not None
    assert 1.0 <= delay <= 2.0


def test_without_retries_switched_on_nothing_is_retried() -> None:
    off = FailurePolicy(Resolution(retry_conditions=["NODE_UNAVAILABLE"]))
    assert off.retry_delay(NodeUnavailableError("away"), 1) is None


@pytest.mark.parametrize("skips", [True, False])
def test_skipping_is_as_the_contract_says(skips: bool) -> None:
    assert FailurePolicy(Resolution(continue_on_error=skips)).skips is skips


def test_an_unknown_outcome_is_never_retried() -> None:
    assert policy().retry_delay(OutcomeUnknownError("who knows"), 1) is None
