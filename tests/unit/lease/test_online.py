"""The admission that has each lease verified at the orchestrator."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import pytest

from onex.v1 import lease_pb2
from onex_grpc.context import CallContext, LeaseClaim, current_call, enter_call
from onex_grpc.errors import (
    DatabaseConnectionError,
    DeadlineExceededError,
    LeaseExpiredError,
    LeaseValidationError,
    NodeUnavailableError,
    OnexError,
    StaleFenceError,
    TargetNotFoundError,
)
from onex_grpc.lease.online import OnlineAdmission
from onex_grpc.rpc.calls import Method

if TYPE_CHECKING:
    from collections.abc import Awaitable

COMPUTE = Method("/onex.v1.ComputeNodeService/ExecuteCompute")
LEASE = LeaseClaim("w", str(uuid.UUID(int=7)), 7, "token")
CALL = CallContext(
    str(uuid.uuid4()),
    action_id=str(uuid.uuid4()),
    epoch=3,
    lease=LEASE,
    caller="orchestrator/main",
    deadline=time.monotonic() + 60,
    traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
    workflow_id="w",
)


class Issuer:
    """What the orchestrator answers, and what it was asked by which call."""

    def __init__(self, error: OnexError | None = None, remaining: int = 1) -> None:
        self.asked: list[tuple[CallContext | None, lease_pb2.VerifyLeaseRequest]] = []
        self.error = error
        self.answer = lease_pb2.VerifyLeaseResponse()
        if remaining:
            self.answer.remaining.FromMicroseconds(remaining)

    async def verify_lease(
        self, request: lease_pb2.VerifyLeaseRequest
    ) -> lease_pb2.VerifyLeaseResponse:
        self.asked.append((current_call(), request))
        if self.error is not None:
            raise self.error
        return self.answer


async def admit(issuer: Issuer) -> None:
    enter_call(CALL)
    pending: Awaitable[None] | None = OnlineAdmission(issuer.verify_lease)(CALL, COMPUTE)
    assert pending is not None
    try:
        await pending
    finally:
        assert current_call() is CALL


async def test_each_call_asks_within_its_deadline_and_correlation() -> None:
    issuer = Issuer()
    await admit(issuer)
    await admit(issuer)
    assert len(issuer.asked) == 2
    for call, request in issuer.asked:
        assert call is not None
        assert (call.correlation_id, call.deadline) == (CALL.correlation_id, CALL.deadline)
        assert (call.traceparent, call.workflow_id) == (CALL.traceparent, "w")
        # The orchestrator is to judge what it is asked for, not the call by which it is asked.
        assert call.lease is None
        assert request == lease_pb2.VerifyLeaseRequest(
            workflow_id="w", lease_id=LEASE.lease_id, fence=7
        )


@pytest.mark.parametrize("refusal", [LeaseExpiredError, LeaseValidationError, StaleFenceError])
async def test_refusals_are_the_orchestrators(refusal: type[OnexError]) -> None:
    error = refusal("no")
    with pytest.raises(refusal) as caught:
        await admit(Issuer(error))
    assert caught.value is error


@pytest.mark.parametrize(
    "failure",
    [NodeUnavailableError, DatabaseConnectionError, DeadlineExceededError, TargetNotFoundError],
)
async def test_any_other_failure_is_no_leave(failure: type[OnexError]) -> None:
    error = failure("why")
    with pytest.raises(NodeUnavailableError, match="why") as caught:
        await admit(Issuer(error))
    assert caught.value.causes == (error,)


async def test_an_answer_without_time_left_is_no_leave() -> None:
    with pytest.raises(LeaseExpiredError):
        await admit(Issuer(remaining=0))


def test_calls_that_no_lease_guards_ask_nobody() -> None:
    issuer = Issuer()
    admission = OnlineAdmission(issuer.verify_lease)
    assert admission(CallContext(CALL.correlation_id), COMPUTE) is None
    assert admission(CALL, Method("/onex.v1.NodeService/GetNodeHealth")) is None
    assert issuer.asked == []
