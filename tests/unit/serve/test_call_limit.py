"""Calls beyond the limit: they wait in order, within bounds, and are refused with a hint."""

import asyncio
from collections.abc import Awaitable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex_grpc.context import CallContext
from onex_grpc.errors import ResourceExhaustedError
from onex_grpc.rpc.calls import CallRuntime, Method
from onex_grpc.serve.call_limit import QUEUED_PER_SLOT, CallLimit
from onex_grpc.telemetry import NO_TELEMETRY

CALL = CallContext("0b1f3f6e-96b1-4a9e-9a5c-0f6d7a1c2b3d")
COMPUTE = Method("/onex.v1.ComputeNodeService/ExecuteCompute")
ABOUT = Method("/onex.v1.NodeService/GetNodeHealth")


class Desk:
    """Takes calls as the wrapper does, and notes in which order they begin."""

    def __init__(self, limit: int, patience: float = 30.0) -> None:
        self.runtime = CallRuntime(node="compute/x", telemetry=NO_TELEMETRY)
        self.limit = CallLimit(self.runtime, limit, patience)
        self.begun: list[int] = []
        self.began = asyncio.Condition()
        self.most = 0
        self._running = 0

    async def take(self, number: int, end: asyncio.Event, method: Method = COMPUTE) -> None:
        """Handle one call until `end` is set."""
        self.runtime.begin()
        try:
            pending = self.limit(CALL, method)
            if isinstance(pending, Awaitable):
                await pending
            self.begun.append(number)
            async with self.began:
                self.began.notify_all()
            self._running += 1
            self.most = max(self.most, self._running)
            try:
                await end.wait()
            finally:
                self._running -= 1
        finally:
            self.runtime.finish(0.0, failed=False)

    async def until_begun(self, number: int) -> None:
        """Wait until a call's handler runs."""
        async with self.began:
            await self.began.wait_for(lambda: number in self.begun)

    def send(self, number: int, end: asyncio.Event) -> asyncio.Task[None]:
        """Begin one call."""
        return asyncio.create_task(self.take(number, end))


async def test_calls_take_turns_in_their_order() -> None:
    desk, ends = Desk(2), [asyncio.Event() for _ in range(6)]
    calls = [desk.send(number, end) for number, end in enumerate(ends)]
    for number, end in enumerate(ends):
        await desk.until_begun(number)
        end.set()
    await asyncio.gather(*calls)

    assert desk.begun == [0, 1, 2, 3, 4, 5]
    assert desk.most == 2


@given(st.integers(1, 4), st.lists(st.sampled_from(["end", "cancel"]), min_size=1, max_size=10))
def test_calls_that_are_given_up_cost_no_slot(limit: int, fates: list[str]) -> None:
    async def scenario() -> None:
        desk, end = Desk(limit), asyncio.Event()
        calls = [desk.send(number, end) for number in range(len(fates))]
        await asyncio.sleep(0)
        for call, fate in zip(calls, fates, strict=True):
            if fate == "cancel":
                call.cancel()
        await asyncio.sleep(0)
        end.set()
        results = await asyncio.gather(*calls, return_exceptions=True)

        assert [isinstance(each, asyncio.CancelledError) for each in results] == [
            fate == "cancel" for fate in fates
        ]
        assert desk.most <= limit
        assert desk.runtime.in_flight == 0
        # Nobody was left behind in the queue.
        await desk.take(99, end)

    asyncio.run(scenario())


async def test_a_wait_has_an_end() -> None:
    desk, end = Desk(1, patience=0.01), asyncio.Event()
    running = desk.send(0, end)
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhaustedError, match=r"limits\.concurrent_calls") as refused:
        await desk.take(1, end)
    assert refused.value.retry_after == 0.1
    end.set()
    await running
    await desk.take(2, end)
    assert desk.begun == [0, 2]


async def test_no_patience_refuses_at_once() -> None:
    desk, end = Desk(1, patience=0), asyncio.Event()
    running = desk.send(0, end)
    await asyncio.sleep(0)
    desk.runtime.begin()
    with pytest.raises(ResourceExhaustedError):
        desk.limit(CALL, COMPUTE)
    desk.runtime.finish(0.0, failed=False)
    end.set()
    await running


async def test_the_queue_is_bounded() -> None:
    desk, end = Desk(1), asyncio.Event()
    calls = [desk.send(number, end) for number in range(1 + QUEUED_PER_SLOT)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhaustedError, match=f"and {QUEUED_PER_SLOT} wait"):
        await desk.take(99, end)
    end.set()
    await asyncio.gather(*calls)


async def test_a_call_that_only_waits_makes_room() -> None:
    desk, end = Desk(1), asyncio.Event()
    running, next_one = desk.send(0, end), desk.send(1, end)
    await asyncio.sleep(0)
    assert desk.begun == [0]
    with desk.runtime.stand():
        await desk.until_begun(1)
    end.set()
    await asyncio.gather(running, next_one)


async def test_mechanisms_do_not_wait_behind_the_calls_that_need_them() -> None:
    desk, end = Desk(2), asyncio.Event()
    calls = [desk.send(number, end) for number in range(6)]
    await asyncio.sleep(0)
    keys = Method("/onex.v1.LeaseService/ListKeys")
    needed = [asyncio.create_task(desk.take(10 + number, end, keys)) for number in range(3)]
    await asyncio.sleep(0)
    # Two calls and two of the mechanisms; the next one waits as well.
    assert desk.begun == [0, 1, 10, 11]
    end.set()
    await asyncio.gather(*calls, *needed)
    assert desk.begun[4:] == [2, 3, 4, 5, 12]


async def test_the_node_can_always_be_asked_how_it_is() -> None:
    desk, end = Desk(1), asyncio.Event()
    running, waiting = desk.send(0, end), desk.send(1, end)
    await asyncio.sleep(0)
    assert desk.limit(CALL, ABOUT) is None
    end.set()
    await asyncio.gather(running, waiting)
