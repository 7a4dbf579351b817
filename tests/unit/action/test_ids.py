"""Ids of actions, and which failures are final."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from onex_grpc.action.ids import derive_action_id
from onex_grpc.action.outcome import is_final
from onex_grpc.errors import (
    AlgorithmNotFoundError,
    DeadlineExceededError,
    LeaseExpiredError,
    NodeUnavailableError,
    OnexError,
    OutcomeUnknownError,
    StaleFenceError,
    TransitionError,
)


@given(st.text(max_size=20), st.integers(0, 9), st.text(max_size=20), st.integers(0, 9))
def test_an_id_is_a_uuid_and_the_same_each_time(w: str, run: int, path: str, item: int) -> None:
    made = derive_action_id(w, run, path, item)
    assert made == derive_action_id(w, run, path, item)
    parsed = uuid.UUID(made)
    assert parsed.version == 8
    assert parsed.variant == uuid.RFC_4122
    assert str(parsed) == made


def test_each_part_tells_ids_apart() -> None:
    made = {
        derive_action_id(w, run, path, item)
        for w in "ab"
        for run in (0, 1)
        for path in "xy"
        for item in (0, 1)
    }
    assert len(made) == 16


def test_only_what_a_repeat_would_meet_again_is_final() -> None:
    final = (AlgorithmNotFoundError, TransitionError, OutcomeUnknownError)
    passing = (
        NodeUnavailableError,
        DeadlineExceededError,
        LeaseExpiredError,
        StaleFenceError,
        OnexError,
    )
    assert all(is_final(error("x")) for error in final)
    assert not any(is_final(error("x")) for error in passing)
