"""Values for the tests of stores, each with only what a test is about spelled out."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from typing import Final

import pytest

from onex_grpc.store import (
    ActionRecord,
    Commit,
    Exact,
    FenceOnly,
    Guard,
    LeaseRequest,
    NewIntent,
    PendingStep,
    workflow_key,
)

SECOND = 1_000_000
TTL = 30 * SECOND
WORKFLOW = "w1"
KEY = workflow_key(WORKFLOW)

BACKENDS: Final = ("memory", "sqlite", "postgresql")
over_a_restart = pytest.mark.parametrize("address", ["sqlite", "postgresql"], indirect=True)
"""For a test of what is still there when a store is opened again."""

_numbers = itertools.count(1)


@dataclass
class ManualClock:
    """A clock that stands until a test moves it."""

    now_us: int = field(default=1_700_000_000 * SECOND)

    def __call__(self) -> int:
        return self.now_us

    def forward(self, seconds: float) -> None:
        self.now_us += int(seconds * SECOND)


def request(
    holder: str = "orchestrator/a",
    *,
    workflow_id: str = WORKFLOW,
    request_id: str = "",
    ttl_us: int = TTL,
    take_over_own: bool = False,
) -> LeaseRequest:
    """A wish for a lease; a new one each time unless `request_id` is given."""
    return LeaseRequest(
        workflow_id=workflow_id,
        holder=holder,
        ttl_us=ttl_us,
        request_id=request_id or f"request-{next(_numbers)}",
        take_over_own=take_over_own,
    )


def change(
    expect: int | None,
    state: bytes = b"state",
    *,
    key: str = KEY,
    guard: Guard | None = None,
    intents: tuple[NewIntent, ...] = (),
    actions: tuple[ActionRecord, ...] = (),
    reply: bytes = b"",
    opened: bool | None = None,
    release: bool = False,
) -> Commit:
    """A change of a state; `expect` None is FenceOnly."""
    return Commit(
        key=key,
        expect=FenceOnly() if expect is None else Exact(expect),
        state=state,
        state_type="test.State",
        guard=guard,
        kind="TEST",
        intents=intents,
        actions=actions,
        reply=reply,
        open=opened,
        release=release,
    )


def action(action_id: str, content: str = "content", *, scope: str = WORKFLOW) -> ActionRecord:
    """An action with this content."""
    return ActionRecord(
        scope=scope,
        action_id=action_id,
        content_hash=hashlib.sha256(content.encode()).digest(),
        action_type=1,
        target="reducer/orders",
        correlation_id="c",
        issued_us=5,
        request=b"request",
    )


def intent(
    name: str, *, priority: int = 3, max_attempts: int = 3, order_key: str = "", route: str = ""
) -> NewIntent:
    """An intent whose payload is its name."""
    return NewIntent(
        intent_id=f"id-{name}",
        priority=priority,
        max_attempts=max_attempts,
        payload=name.encode(errors="replace"),
        correlation_id="c",
        traceparent="00-trace",
        order_key=order_key,
        route=route,
    )


def step(
    action_id: str, *, attempts: int = 1, left_us: int | None = None, retry_us: int | None = None
) -> PendingStep:
    """A pending step of this action."""
    return PendingStep(
        action_id=action_id,
        step_id=f"step-{action_id}",
        target="effect/bank",
        attempts=attempts,
        issued_us=1_600_000_000 * SECOND,
        left_us=left_us,
        retry_us=retry_us,
    )
