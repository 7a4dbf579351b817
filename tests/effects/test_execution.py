"""The order in which an effect goes through deadline, key, repeats and attempt."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
from google.protobuf import struct_pb2, wrappers_pb2

from onex.v1 import effect_pb2, operation_pb2
from onex_grpc.context import CallContext, LeaseClaim, current_call, enter_call
from onex_grpc.contract.data import unpack
from onex_grpc.effect import CustomCall, CustomOperations, CustomTarget, EventLogTarget
from onex_grpc.errors import (
    ConfigurationError,
    ContractValidationError,
    DeadlineExceededError,
    NodeUnavailableError,
    OperationRefusedError,
    OutcomeUnknownError,
    StaleFenceError,
    UnavailableError,
)
from onex_grpc.intent.redrive import enter_redrive
from onex_grpc.rpc import Mesh
from tests.effects.making import (
    CORRELATION,
    contract,
    executing,
    files_settings,
)

if TYPE_CHECKING:
    from pathlib import Path

Text = wrappers_pb2.StringValue
Handler = Callable[[Text, CustomCall], Awaitable[str]]


def custom(text: str = "x") -> operation_pb2.EffectOperation:
    operation = operation_pb2.EffectOperation()
    operation.custom.Pack(Text(value=text))
    return operation


class Outside:
    """An outside system that fails and waits as it is told, and counts what was done to it."""

    def __init__(self, *failures: Exception) -> None:
        self.done = 0
        self.calls: list[CustomCall] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._failures = list(failures)

    async def __call__(self, message: Text, call: CustomCall) -> str:
        self.calls.append(call)
        self.begun.set()
        await self.go_on.wait()
        if self._failures:
            raise self._failures.pop(0)
        self.done += 1
        return message.value


def idempotent(outside: Outside) -> CustomOperations:
    operations = CustomOperations()
    operations.add_idempotent(Text, outside)
    return operations


def once_only(outside: Outside) -> CustomOperations:
    operations = CustomOperations()
    operations.add(Text, outside)
    return operations


def at(target: str = "", key: str = "", **rest: float) -> effect_pb2.ModelContractEffect:
    retries = int(rest.get("retries", 0))
    return contract(target, custom(), key=key, retries=retries, timeout=rest.get("timeout"))


async def test_a_handler_gets_its_call(tmp_path: Path) -> None:
    outside = Outside()
    targets = {"bank": CustomTarget(options={"url": "u"})}
    async with executing(tmp_path, {**targets}, idempotent(outside)) as executor:
        output = await executor.execute(at("bank", key="k"))
    assert unpack(output.operation_result) == "x"
    assert outside.calls == [CustomCall("bank", {"url": "u"}, "k", CORRELATION)]


async def test_a_passing_failure_is_repeated(tmp_path: Path) -> None:
    outside = Outside(UnavailableError("down"), UnavailableError("down", retry_after=0.001))
    async with executing(tmp_path, {}, idempotent(outside)) as executor:
        output = await executor.execute(at(retries=2))
    assert output.metadata.attempts == 3
    assert outside.done == 1


async def test_repeats_end(tmp_path: Path) -> None:
    outside = Outside(*(UnavailableError(f"down {n}") for n in range(9)))
    async with executing(tmp_path, {}, idempotent(outside)) as executor:
        with pytest.raises(UnavailableError, match="down 2"):
            await executor.execute(at(retries=2))


async def test_a_lasting_failure_is_not_repeated(tmp_path: Path) -> None:
    outside = Outside(OperationRefusedError("no"))
    async with executing(tmp_path, {}, idempotent(outside)) as executor:
        with pytest.raises(OperationRefusedError):
            await executor.execute(at(retries=2))
    assert len(outside.calls) == 1


async def test_what_must_not_be_repeated_is_unknown(tmp_path: Path) -> None:
    outside = Outside(NodeUnavailableError("lost"), KeyError("bug"))
    async with executing(tmp_path, {}, once_only(outside)) as executor:
        for _ in range(2):
            with pytest.raises(OutcomeUnknownError):
                await executor.execute(at(retries=5))
    assert len(outside.calls) == 2


async def test_a_bug_in_a_handler_keeps_its_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with executing(tmp_path, {}, idempotent(Outside(KeyError("secret")))) as executor:
        with pytest.raises(UnavailableError) as caught:
            await executor.execute(at())
    assert "secret" not in caught.value.message
    assert "secret" in caplog.text


async def test_the_deadline_comes_first(tmp_path: Path) -> None:
    outside = Outside()
    outside.go_on.clear()
    async with executing(tmp_path, {}, idempotent(outside)) as executor:
        with pytest.raises(DeadlineExceededError, match="harmless"):
            await executor.execute(at(timeout=0.01))
    async with executing(tmp_path, {}, once_only(outside)) as executor:
        with pytest.raises(OutcomeUnknownError):
            await executor.execute(at(timeout=0.01))


async def test_the_deadline_ends_repeats(tmp_path: Path) -> None:
    outside = Outside(*(UnavailableError("down", retry_after=10) for _ in range(9)))
    async with executing(tmp_path, {}, idempotent(outside)) as executor:
        with pytest.raises(DeadlineExceededError) as caught:
            await executor.execute(at(retries=9, timeout=0.02))
    assert isinstance(caught.value.causes[0], UnavailableError)


async def test_cancellation_says_what_is_unknown(tmp_path: Path) -> None:
    outside = Outside()
    outside.go_on.clear()
    async with executing(tmp_path, {}, once_only(outside)) as executor:
        for key in ("", "k"):
            outside.begun.clear()
            task = asyncio.create_task(executor.execute(at(key=key)))
            await outside.begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            assert isinstance(caught.value.args[0], OutcomeUnknownError)
            assert task.cancelled()


async def test_who_joins_learns_what_is_unknown(tmp_path: Path) -> None:
    outside = Outside()
    outside.go_on.clear()
    async with executing(tmp_path, {}, once_only(outside)) as executor:
        first = asyncio.create_task(executor.execute(at(key="k", timeout=0.5)))
        await outside.begun.wait()
        with pytest.raises(OutcomeUnknownError):
            await executor.execute(at(key="k", timeout=0.05))
        with pytest.raises(OutcomeUnknownError):
            await first


async def test_a_handler_that_cancels_itself_has_failed(tmp_path: Path) -> None:
    async def cancelled(message: Text, call: CustomCall) -> str:
        raise asyncio.CancelledError

    for add, error in (("add", OutcomeUnknownError), ("add_idempotent", UnavailableError)):
        operations = CustomOperations()
        getattr(operations, add)(Text, cancelled)
        async with executing(tmp_path, {}, operations) as executor:
            for key in ("", "k"):
                with pytest.raises(error):
                    await executor.execute(at(key=key))


async def test_one_leaves_and_the_other_gets_the_reply(tmp_path: Path) -> None:
    outside = Outside()
    outside.go_on.clear()
    async with executing(tmp_path, {}, idempotent(outside)) as executor:
        first = asyncio.create_task(executor.execute(at(key="k")))
        await outside.begun.wait()
        second = asyncio.create_task(executor.execute(at(key="k")))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        outside.go_on.set()
        output = await second
    assert output.metadata.replayed
    assert outside.done == 1


async def test_the_time_of_the_first_is_not_that_of_the_other(tmp_path: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def calls_on(message: Text, call: CustomCall) -> str:
        begun.set()
        await go_on.wait()
        if (current := current_call()) is not None and current.remaining() == 0.0:
            raise DeadlineExceededError("what it calls has no time left")
        return message.value

    operations = CustomOperations()
    operations.add_idempotent(Text, calls_on)

    async def hasty() -> effect_pb2.ModelEffectOutput:
        enter_call(CallContext(CORRELATION, deadline=time.monotonic() + 0.05))
        return await executor.execute(at(key="k"))

    async with executing(tmp_path, {}, operations) as executor:
        first = asyncio.create_task(hasty())
        await begun.wait()
        second = asyncio.create_task(executor.execute(at(key="k")))
        with pytest.raises(DeadlineExceededError):
            await first
        go_on.set()
        assert unpack((await second).operation_result) == "x"


@pytest.mark.parametrize("repeatable", [True, False])
async def test_a_repeat_meets_one_that_was_given_up_and_is_ending(
    tmp_path: Path, repeatable: bool
) -> None:
    begun, cleaned_up = asyncio.Event(), asyncio.Event()
    calls = 0

    async def slow_to_stop(message: Text, call: CustomCall) -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                await cleaned_up.wait()
        return message.value

    operations = CustomOperations()
    (operations.add_idempotent if repeatable else operations.add)(Text, slow_to_stop)
    async with executing(tmp_path, {}, operations) as executor:
        first = asyncio.create_task(executor.execute(at(key="k")))
        await begun.wait()
        first.cancel()
        await asyncio.sleep(0)
        # As the caller's next process does.
        second = asyncio.create_task(executor.execute(at(key="k")))
        await asyncio.sleep(0.01)
        cleaned_up.set()
        if repeatable:
            assert unpack((await second).operation_result) == "x"
        else:
            with pytest.raises(OutcomeUnknownError):
                await second
        with pytest.raises(asyncio.CancelledError):
            await first
    assert calls == 1 + repeatable


async def test_the_store_keeps_the_outcome(tmp_path: Path) -> None:
    outside = Outside()
    for replayed in (False, True):
        async with executing(tmp_path, {}, once_only(outside)) as executor:
            output = await executor.execute(at(key="k"))
            assert output.metadata.replayed is replayed
            assert unpack(output.operation_result) == "x"
    assert outside.done == 1


async def test_a_repeat_may_be_packed_by_another_process(tmp_path: Path) -> None:
    outside = Outside()
    operations = CustomOperations()

    async def count(message: struct_pb2.Struct, call: CustomCall) -> float:
        outside.done += 1
        return outside.done

    operations.add(struct_pb2.Struct, count)
    names = [str(number) for number in range(20)]
    async with executing(tmp_path, {}, operations) as executor:
        for order in (names, names[::-1]):
            operation = operation_pb2.EffectOperation()
            message = struct_pb2.Struct()
            message.update(dict.fromkeys(order, 1))
            operation.custom.Pack(message)
            output = await executor.execute(contract("", operation, key="k"))
            assert unpack(output.operation_result) == 1


async def test_what_was_interrupted_is_not_begun_again(tmp_path: Path) -> None:
    outside = Outside()
    outside.go_on.clear()
    async with executing(tmp_path, {}, once_only(outside)) as executor:
        with pytest.raises(OutcomeUnknownError):
            await executor.execute(at(key="k", timeout=0.02))
    outside.go_on.set()
    async with executing(tmp_path, {}, once_only(outside)) as executor:
        with pytest.raises(OutcomeUnknownError):
            await executor.execute(at(key="k"))
        await executor.execute(at(key="another"))
    assert outside.done == 1


async def test_an_operators_redrive_is_leave_to_begin_again(tmp_path: Path) -> None:
    outside = Outside()
    for redrives in (0, 1):
        enter_redrive(redrives)
        outside.go_on.clear()
        async with executing(tmp_path, {}, once_only(outside)) as executor:
            for _ in range(2):
                with pytest.raises(OutcomeUnknownError):
                    await executor.execute(at(key="k", timeout=0.02))
    outside.go_on.set()
    enter_redrive(2)
    async with executing(tmp_path, {}, once_only(outside)) as executor:
        await executor.execute(at(key="k"))
        assert (await executor.execute(at(key="k"))).metadata.replayed
    assert outside.done == 1


async def test_what_surely_did_nothing_may_be_done(tmp_path: Path) -> None:
    outside = Outside(OperationRefusedError("no"), OperationRefusedError("no"))
    async with executing(tmp_path, {}, once_only(outside)) as executor:
        for _ in range(2):
            with pytest.raises(OperationRefusedError):
                await executor.execute(at(key="k"))
        await executor.execute(at(key="k"))
        assert (await executor.execute(at(key="k"))).metadata.replayed
    assert outside.done == 1


async def test_an_old_fence_does_nothing(tmp_path: Path) -> None:
    outside = Outside()

    def under(fence: int) -> None:
        lease = LeaseClaim("wf", f"lease-{fence}", fence, "token")
        enter_call(CallContext(CORRELATION, lease=lease))

    async with executing(tmp_path, {}, idempotent(outside)) as executor:
        for fence in (5, 5, 7):
            under(fence)
            await executor.execute(at())
        under(6)
        with pytest.raises(StaleFenceError):
            await executor.execute(at())
    assert outside.done == 3


async def test_every_use_is_audited(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "onex_grpc.audit")
    outside = Outside(OperationRefusedError("no"))
    async with executing(
        tmp_path, {"files": files_settings(tmp_path)}, idempotent(outside)
    ) as executor:
        with pytest.raises(OperationRefusedError):
            await executor.execute(at())
        for _ in range(2):
            await executor.execute(at(key="k"))
    records = [vars(record) for record in caplog.records if record.name == "onex_grpc.audit"]
    assert [r["outcome"] for r in records] == ["OPERATION_REFUSED", "OK", "REPLAYED"]
    assert {r["correlation_id"] for r in records} == {CORRELATION}
    assert [r["attempts"] for r in records] == [1, 1, 0]


async def test_unknown_types_and_wrong_targets(tmp_path: Path) -> None:
    targets = {"files": files_settings(tmp_path)}
    operations = idempotent(Outside())
    with pytest.raises(ConfigurationError, match="StringValue"):
        operations.add(Text, Outside())
    async with executing(tmp_path, {**targets}, operations) as executor:
        with pytest.raises(OperationRefusedError, match="carries out file"):
            await executor.execute(at("files"))
        other = operation_pb2.EffectOperation()
        other.custom.Pack(wrappers_pb2.BoolValue())
        with pytest.raises(OperationRefusedError, match="StringValue"):
            await executor.execute(contract("", other))
        damaged = operation_pb2.EffectOperation()
        damaged.custom.Pack(Text(value="x"))
        damaged.custom.value = b"\xff"
        with pytest.raises(ContractValidationError):
            await executor.execute(contract("", damaged))


async def test_without_a_key_a_lost_publication_is_unknown(tmp_path: Path) -> None:
    operation = operation_pb2.EffectOperation()
    operation.message.event_type = "HAPPENED"
    targets = {"events": EventLogTarget(topic="things")}
    nobody = Mesh({"orchestrator": "127.0.0.1:1"})
    async with executing(tmp_path, {**targets}, mesh=nobody) as executor:
        for key, error in (("", OutcomeUnknownError), ("k", NodeUnavailableError)):
            with pytest.raises(error):
                await executor.execute(contract("events", operation, key=key, retries=1))
    await nobody.close()
