"""Ids of a handler's steps, and the order in which a handler meets their results again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import orchestrator_pb2
from onex_grpc.workflow.replay import Replay, StepNames, is_step

if TYPE_CHECKING:
    from collections.abc import Sequence

RPC = "shop.v1.MailService/Send"


def recorded(
    *step_ids: str, skipped: Sequence[str] = ()
) -> list[orchestrator_pb2.WorkflowStepResult]:
    return [
        orchestrator_pb2.WorkflowStepResult(
            step_id=step_id,
            status=orchestrator_pb2.STEP_STATUS_SKIPPED
            if step_id in skipped
            else orchestrator_pb2.STEP_STATUS_COMPLETED,
        )
        for step_id in step_ids
    ]


@given(st.lists(st.tuples(st.sampled_from(["a/B", "a/C"]), st.text(max_size=2)), max_size=12))
def test_calls_have_the_same_ids_in_whatever_order_they_are_made(
    calls: list[tuple[str, str]],
) -> None:
    forward, backward = StepNames(), StepNames()
    names = [forward.name(rpc, StringValue(value=text)) for rpc, text in calls]
    again = [backward.name(rpc, StringValue(value=text)) for rpc, text in reversed(calls)]
    assert sorted(names) == sorted(again)
    assert len(set(names)) == len(names)
    assert all(is_step(name) for name in names)


def test_an_id_does_not_depend_on_the_order_of_a_map() -> None:
    one, other = Struct(), Struct()
    one.update({"a": 1, "b": 2})
    other.update({"b": 2, "a": 1})
    assert StepNames().name(RPC, one) == StepNames().name(RPC, other)


def test_a_delegated_task_is_no_step() -> None:
    foreign = "0198c0de-0000-7000-8000-000000000001"
    assert not is_step(foreign)
    replay = Replay(recorded(foreign, "a#1"))
    assert list(replay.left) == ["a#1"]
    assert not replay.knows(foreign)


async def test_results_are_given_in_the_order_of_the_record() -> None:
    replay = Replay(recorded("a#", "b#", "c#"))
    order: list[str] = []

    async def ask(step_id: str) -> None:
        order.append((await replay.result(step_id)).step_id)

    async with asyncio.TaskGroup() as group:
        for step_id in ("c#", "b#", "a#"):
            group.create_task(ask(step_id))
    assert order == ["a#", "b#", "c#"]
    assert not replay.left
    replay.close()


async def test_who_got_a_result_acts_before_the_next_one_is_given() -> None:
    replay = Replay(recorded("a#", "b#"))
    order: list[str] = []

    async def deep(levels: int) -> None:
        if levels:
            await asyncio.gather(deep(levels - 1))
        else:
            await replay.result("a#")

    async def first() -> None:
        await deep(3)
        order.append("a")

    async def second() -> None:
        await replay.result("b#")
        order.append("b")

    await asyncio.gather(second(), first())
    assert order == ["a", "b"]
    replay.close()


async def test_a_result_is_not_kept_back_for_ever() -> None:
    replay = Replay(recorded("gone#", "b#", "late#"), patience=0.01)
    assert (await replay.result("b#")).step_id == "b#"
    assert (await replay.result("late#")).step_id == "late#"
    assert list(replay.left) == ["gone#"]
    assert (await replay.result("gone#")).step_id == "gone#"
    replay.close()


async def test_a_step_that_was_given_up_waits_and_holds_nothing_up() -> None:
    replay = Replay(recorded("up#", "b#", skipped=["up#"]))
    waiting = asyncio.create_task(replay.result("up#"))
    assert (await replay.result("b#")).step_id == "b#"
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert not replay.left
    replay.close()


async def test_who_stops_waiting_holds_nothing_up() -> None:
    replay = Replay(recorded("a#", "b#"))
    waiting = asyncio.create_task(replay.result("a#"))
    await asyncio.sleep(0)
    waiting.cancel()
    assert (await replay.result("b#")).step_id == "b#"
    replay.close()


async def test_live_calls_begin_after_the_results_that_have_their_turn() -> None:
    replay = Replay(recorded("a#", "b#"))
    given = [asyncio.create_task(replay.result(name)) for name in ("b#", "a#")]
    await asyncio.sleep(0)
    await replay.settled()
    assert all(task.done() for task in given)
    replay.close()
