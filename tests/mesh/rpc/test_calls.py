"""What a call carries and how it ends, the same over sockets and in this process."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from onex_grpc.context import CallContext, LeaseClaim, current_call, enter_call
from onex_grpc.errors import (
    AlgorithmNotFoundError,
    CallCancelledError,
    ContractValidationError,
    DeadlineExceededError,
    LeaseConflictError,
    NotFoundError,
    OnexError,
    ResourceExhaustedError,
    StoreError,
    UnavailableError,
    UnimplementedError,
    Violation,
)
from tests.mesh.rpc.probe import SECRET, Request, ask

if TYPE_CHECKING:
    from tests.mesh.rpc.conftest import Node

CORRELATION = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
OTHER = "0b9b7d1e-6f0e-4b8e-8f0a-4f1d2c3b4a59"
LEASE = LeaseClaim("order-1", str(uuid.UUID(int=1)), 7, "token")


async def test_correlation_id_is_made_once_at_the_edge_and_filled_in(node: Node) -> None:
    response = await node.stub.ExecuteCompute(ask("echo"))
    assert uuid.UUID(response.correlation_id).version == 4
    assert node.probe.calls[0].correlation_id == response.correlation_id


async def test_correlation_id_of_the_message_becomes_that_of_the_call(node: Node) -> None:
    response = await node.stub.ExecuteCompute(ask("echo", CORRELATION.upper()))
    assert response.correlation_id == CORRELATION
    assert node.probe.calls[0].correlation_id == CORRELATION


async def test_call_carries_everything_of_the_current_one(node: Node) -> None:
    enter_call(
        CallContext(
            CORRELATION,
            action_id=str(uuid.UUID(int=2)),
            epoch=0,
            lease=LEASE,
            workflow_id="order-1",
            deadline=time.monotonic() + 60,
            traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-00",
            tracestate="vendor=1",
            baggage="k=v",
        )
    )
    await node.stub.ExecuteCompute(ask("echo"))
    seen = node.probe.calls[0]
    assert seen.correlation_id == CORRELATION
    assert seen.action_id == str(uuid.UUID(int=2))
    assert (seen.epoch, seen.lease, seen.workflow_id) == (0, LEASE, "order-1")
    assert (seen.tracestate, seen.baggage) == ("vendor=1", "k=v")
    assert seen.caller == "orchestrator/test"
    assert seen.traceparent == "00-" + "a" * 32 + "-" + "b" * 16 + "-00"
    remaining = seen.remaining()
    assert remaining is not None
    # gRPC rounds a timeout up when it writes it.
    assert 50 < remaining < 61


async def test_handler_does_not_see_the_callers_context_nor_change_it(node: Node) -> None:
    await node.stub.ExecuteCompute(ask("echo"))
    assert current_call() is None


async def test_message_and_call_of_different_correlation_ids(node: Node) -> None:
    enter_call(CallContext(CORRELATION))
    with pytest.raises(ContractValidationError) as caught:
        await node.stub.ExecuteCompute(ask("echo", str(uuid.UUID(int=9))))
    assert [v.field for v in caught.value.violations] == ["correlation_id"]


async def test_all_violations_of_a_message_arrive(node: Node) -> None:
    with pytest.raises(ContractValidationError) as caught:
        await node.stub.ExecuteCompute(ask("", "not-a-uuid"))
    fields = {v.field for v in caught.value.violations}
    assert fields == {"correlation_id", "algorithm_config.algorithm_type"}
    assert not node.probe.calls


async def test_error_arrives_as_what_was_raised(node: Node) -> None:
    cause = AlgorithmNotFoundError("no such", context={"algorithm": "x"}, node="compute/other")
    node.probe.error = LeaseConflictError(
        "held", causes=[StoreError("broken", causes=[cause])], retry_after=2.5, context={"a": "b"}
    )
    with pytest.raises(LeaseConflictError, match="held") as caught:
        await node.stub.ExecuteCompute(ask("fail", CORRELATION))
    error = caught.value
    assert (error.retry_after, error.node, error.context) == (2.5, "compute/probe", {"a": "b"})
    assert error.correlation_id == CORRELATION
    (store,) = error.causes
    assert isinstance(store, StoreError)
    (deepest,) = store.causes
    assert isinstance(deepest, AlgorithmNotFoundError)
    assert (deepest.node, deepest.context) == ("compute/other", {"algorithm": "x"})


async def test_an_error_that_calls_share_has_each_ones_correlation_id(node: Node) -> None:
    node.probe.error = UnavailableError("shared")
    for correlation_id in (CORRELATION, OTHER):
        with pytest.raises(UnavailableError) as caught:
            await node.stub.ExecuteCompute(ask("fail", correlation_id))
        assert caught.value.correlation_id == correlation_id


async def test_violations_of_a_handlers_error_arrive(node: Node) -> None:
    violations = tuple(Violation(f"field[{i}]", "wrong " * 20) for i in range(200))
    node.probe.error = ContractValidationError("many", violations=violations)
    with pytest.raises(ContractValidationError) as caught:
        await node.stub.ExecuteCompute(ask("fail"))
    found = caught.value.violations
    assert 5 < len(found) < 200
    assert found[0].field == "field[0]"
    assert f"and {200 - len(found) + 1} more" in found[-1].description


async def test_text_of_an_unknown_exception_stays_at_the_node(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(OnexError) as caught:
        await node.stub.ExecuteCompute(ask("secret"))
    assert type(caught.value) is OnexError
    assert SECRET not in repr(caught.value) + str(caught.value.__cause__)
    assert SECRET in caplog.text


async def test_stray_cancellation_inside_a_handler_is_an_internal_error(node: Node) -> None:
    with pytest.raises(OnexError, match="internal error"):
        await asyncio.wait_for(node.stub.ExecuteCompute(ask("stray")), 5)


async def test_handler_that_aborts(node: Node) -> None:
    with pytest.raises(NotFoundError, match="aborted by the handler"):
        await node.stub.ExecuteCompute(ask("abort"))
    # The answer leaves before the handler ends, which grpc's own stop does not wait for.
    node.runtime.refuse_new()
    assert await node.runtime.wait_idle(5)


async def test_deadline_cancels_the_handler_and_is_told_to_the_caller(node: Node) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceededError, match="ExecuteCompute of compute/probe at"):
        await node.stub.ExecuteCompute(ask("hold"), timeout=0.2)
    await asyncio.wait_for(node.probe.cancelled.wait(), 5)
    assert node.probe.cancelled_at - (began + 0.2) < 1


async def test_child_call_gets_what_time_is_left(node: Node) -> None:
    node.probe.onward = lambda: node.stub.ExecuteCompute(ask("hold"), timeout=60)
    with pytest.raises(DeadlineExceededError):
        await node.stub.ExecuteCompute(ask("onward"), timeout=0.3)
    await asyncio.wait_for(node.probe.cancelled.wait(), 5)
    outer, inner = node.probe.calls
    assert inner.correlation_id == outer.correlation_id
    assert inner.deadline is not None
    assert outer.deadline is not None
    assert inner.deadline - outer.deadline < 1


async def test_no_call_is_made_without_time_left(node: Node) -> None:
    enter_call(CallContext(CORRELATION, deadline=time.monotonic() - 1))
    with pytest.raises(DeadlineExceededError, match="was not called"):
        await node.stub.ExecuteCompute(ask("echo"))
    assert not node.probe.calls


async def test_cancellation_reaches_the_handler(node: Node) -> None:
    task = asyncio.ensure_future(node.stub.ExecuteCompute(ask("hold")))
    await asyncio.wait_for(node.probe.running.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(node.probe.cancelled.wait(), 5)


async def test_closing_the_mesh_does_not_look_like_a_cancelled_task(node: Node) -> None:
    task = asyncio.ensure_future(node.stub.ExecuteCompute(ask("hold")))
    await asyncio.wait_for(node.probe.running.wait(), 5)
    await node.mesh.close()
    with pytest.raises(CallCancelledError):
        await task
    await asyncio.wait_for(node.probe.cancelled.wait(), 5)


async def test_message_beyond_the_limit(node: Node) -> None:
    with pytest.raises(ResourceExhaustedError, match=r"larger than max .* 1500\)"):
        await node.stub.ExecuteCompute(ask("echo", size=2000))
    with pytest.raises(ResourceExhaustedError, match="at most 1500 are allowed") as refused:
        await node.stub.ExecuteCompute(ask("large"))
    assert refused.value.node == "compute/probe"
    await node.stub.ExecuteCompute(ask("echo"))


@pytest.mark.parametrize("seconds", [1e9, 1e12, 1e300, float("inf")])
async def test_deadlines_beyond_what_grpc_can_count_are_far_away(
    node: Node, seconds: float
) -> None:
    await node.stub.ExecuteCompute(ask("echo"), timeout=seconds)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
async def test_a_call_without_time_is_not_made(node: Node, seconds: float) -> None:
    with pytest.raises(DeadlineExceededError, match="was not called"):
        await node.stub.ExecuteCompute(ask("echo"), timeout=seconds)


async def test_method_that_is_not_served(node: Node) -> None:
    class Missing:
        def __init__(self, channel: object) -> None:
            make = getattr(channel, "unary_unary")  # noqa: B009 - the stub's channel is untyped
            self.Nothing = make(
                "/onex.test.Streams/Nothing", Request.SerializeToString, Request.FromString
            )

    stub = node.mesh.stub(Missing, "compute/probe")
    with pytest.raises(UnimplementedError):
        await stub.Nothing(ask("echo"))


async def test_calls_are_counted_and_refusals_are_no_failures(node: Node) -> None:
    await node.stub.ExecuteCompute(ask("echo"))
    with pytest.raises(OnexError):
        await node.stub.ExecuteCompute(ask("secret"))
    with pytest.raises(ContractValidationError):
        await node.stub.ExecuteCompute(ask(""))
    load = node.runtime.load()
    assert (load.finished, load.failed) == (3, 1)
    assert node.runtime.in_flight == 0
