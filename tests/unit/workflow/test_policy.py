"""How often and how soon a failed step is repeated."""

from __future__ import annotations

import pytest

from onex.v1 import common_pb2, orchestrator_pb2
from onex_grpc.action.outcome import failure_of
from onex_grpc.errors import (
    AlgorithmNotFoundError,
    EpochMismatchError,
    NodeUnavailableError,
    OnexError,
    OutcomeUnknownError,
)
from onex_grpc.workflow.policy import FailurePolicy

Resolution = orchestrator_pb2.ConflictResolution
AWAY = NodeUnavailableError("away")
MOVED = EpochMismatchError("moved on")


def resolved(*conditions: str, **fields: object) -> FailurePolicy:
    return FailurePolicy(Resolution(retry_conditions=conditions, **fields))  # type: ignore[arg-type]


def repeats(policy: FailurePolicy, error: OnexError, attempts: int = 1) -> bool:
    return policy.repeats(error, failure_of(error), attempts)


def test_an_outage_is_waited_for_without_end() -> None:
    for policy in (resolved(), resolved(continue_on_error=True), resolved("EPOCH_MISMATCH")):
        assert repeats(policy, AWAY, 1_000_000)
        assert not repeats(policy, AlgorithmNotFoundError("there is none"))


def test_an_explicit_bound_ends_the_waiting_for_an_outage() -> None:
    config = common_pb2.RetryPolicy(max_retries=2)
    bounded = (
        resolved(retry_config=config),
        resolved("UNAVAILABLE", retry_enabled=True, retry_config=config),
        resolved("NODE_UNAVAILABLE", retry_enabled=True, retry_config=config),
    )
    for policy in bounded:
        assert [repeats(policy, AWAY, n) for n in (1, 2, 3)] == [True, True, False]
    of_others = resolved("EPOCH_MISMATCH", retry_enabled=True, retry_config=config)
    assert repeats(of_others, AWAY, 3)
    none = resolved(retry_config=common_pb2.RetryPolicy(max_retries=0))
    assert not repeats(none, AWAY, 1)
    without = common_pb2.RetryPolicy()
    without.initial_backoff.FromMilliseconds(5)
    assert repeats(resolved(retry_config=without), AWAY, 1000)


def test_retries_that_are_switched_off_are_off_for_outages_too() -> None:
    off = resolved("UNAVAILABLE", retry_enabled=False)
    assert not repeats(off, AWAY)


def test_a_final_error_is_repeated_only_where_it_is_named_and_retries_are_on() -> None:
    on = resolved("EPOCH_MISMATCH", retry_enabled=True)
    assert [repeats(on, MOVED, n) for n in (1, 2, 3, 4)] == [True, True, True, False]
    assert repeats(resolved("ABORTED", retry_enabled=True), MOVED)
    assert not repeats(on, AlgorithmNotFoundError("there is none"))
    assert not repeats(resolved("EPOCH_MISMATCH"), MOVED)


def test_an_unknown_outcome_is_never_repeated() -> None:
    policy = resolved("UNKNOWN", "OUTCOME_UNKNOWN", retry_enabled=True)
    assert not repeats(policy, OutcomeUnknownError("who knows"))


def test_waits_grow_up_to_the_longest_with_jitter() -> None:
    config = common_pb2.RetryPolicy(multiplier=3.0)
    config.initial_backoff.FromMilliseconds(200)
    config.max_backoff.FromSeconds(5)
    chosen = resolved(retry_config=config)
    for repeat, longest in ((1, 0.2), (2, 0.6), (3, 1.8), (4, 5.0), (100_000, 5.0)):
        assert longest / 2 <= chosen.wait(AWAY, repeat) <= longest


def test_the_defaults_are_from_100_ms_to_30_s() -> None:
    for repeat, base in ((1, 0.1), (2, 0.2), (3, 0.4), (50, 30.0)):
        assert base / 2 <= resolved().wait(AWAY, repeat) <= base


def test_what_the_server_asks_for_is_waited_but_not_for_ever() -> None:
    assert resolved().wait(NodeUnavailableError("away", retry_after=2.0), 1) == 2.0
    assert resolved().wait(NodeUnavailableError("away", retry_after=1e9), 1) == 300.0


@pytest.mark.parametrize("skips", [True, False])
def test_skipping_is_as_the_contract_says(skips: bool) -> None:
    assert FailurePolicy(Resolution(continue_on_error=skips)).skips is skips
