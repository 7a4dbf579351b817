"""Old repeats at each kind of target: refused where a second time could be one too many."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from google.protobuf import wrappers_pb2

from onex.v1 import event_pb2_grpc, operation_pb2
from onex_grpc.context import CallContext, enter_call
from onex_grpc.effect import CustomOperations, CustomTarget, EventLogTarget
from onex_grpc.errors import OutcomeUnknownError
from onex_grpc.event import EventBus
from onex_grpc.rpc import CallRuntime, LocalServer, Mesh
from onex_grpc.store.opening import open_store
from onex_grpc.telemetry import NO_TELEMETRY
from tests.effects.making import (
    CORRELATION,
    contract,
    database,
    executing,
    insert,
    scalar,
)

if TYPE_CHECKING:
    from pathlib import Path

    from onex_grpc.effect import CustomCall, EffectExecutor

Text = wrappers_pb2.StringValue


def again_after(days: int) -> None:
    """Calls from now on repeat an action that was first sent so long ago."""
    issued_us = time.time_ns() // 1000 - days * 86_400_000_000
    enter_call(CallContext(CORRELATION, action_id=CORRELATION, issued_us=issued_us))


def mail() -> operation_pb2.EffectOperation:
    values = {"id": scalar("1"), "name": scalar("Ann"), "cents": scalar(5)}
    return operation_pb2.EffectOperation(
        notification=operation_pb2.Notification(
            template="placed", to="ann@example.invalid", data=values
        )
    )


def arrived(folder: Path) -> list[str]:
    return [entry.name for entry in (folder / "mail" / "new").iterdir()]


async def test_a_mail_is_not_sent_again(
    executor: EffectExecutor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    again_after(40)
    with pytest.raises(OutcomeUnknownError, match=r"'mail' under idempotency_key 'k'.*outcomes"):
        await executor.execute(contract("mail", mail(), "k"))
    assert arrived(tmp_path) == []
    assert [vars(record)["outcome"] for record in caplog.records] == ["OUTCOME_UNKNOWN"]
    again_after(28)
    await executor.execute(contract("mail", mail(), "k"))
    again_after(40)
    output = await executor.execute(contract("mail", mail(), "k"))
    assert output.metadata.replayed
    assert arrived(tmp_path) == ["k"]


async def test_a_database_keeps_its_keys_for_good(executor: EffectExecutor) -> None:
    again_after(40)
    write = contract("orders_db", database(insert("orders", id="1")), "k")
    assert not (await executor.execute(write)).metadata.replayed
    assert (await executor.execute(write)).metadata.replayed


async def test_a_file_is_written_again(executor: EffectExecutor, tmp_path: Path) -> None:
    again_after(40)
    write = operation_pb2.FileOperation(
        path="a.txt", write=operation_pb2.FileWrite(content=b"content")
    )
    operation = operation_pb2.EffectOperation(file=write)
    await executor.execute(contract("files", operation, "k"))
    assert (tmp_path / "files" / "a.txt").read_bytes() == b"content"


async def test_an_event_is_not_published_again(tmp_path: Path) -> None:
    """The log removes events sooner than the effect node its outcomes."""
    store = await open_store(tmp_path / "orchestrator.db")
    server = LocalServer(CallRuntime(node="orchestrator/test", telemetry=NO_TELEMETRY))
    server.add(event_pb2_grpc.add_EventBusServiceServicer_to_server, EventBus(store))
    mesh = Mesh({"orchestrator": server})
    operation = operation_pb2.EffectOperation()
    operation.message.event_type = "HAPPENED"
    targets = {"events": EventLogTarget(topic="things")}
    async with executing(tmp_path, {**targets}, mesh=mesh) as executor:
        again_after(8)
        with pytest.raises(OutcomeUnknownError, match=r"retention.* events"):
            await executor.execute(contract("events", operation, "k"))
        assert (await store.event_span("things")).head == 0
        again_after(5)
        await executor.execute(contract("events", operation, "k"))
        again_after(8)
        await executor.execute(contract("events", operation, "k"))
        assert (await store.event_span("things")).head == 1
    await mesh.close()
    await server.drain(1.0)
    await store.close()


@pytest.mark.parametrize("target", ["", "outside"])
async def test_an_operation_of_the_users_own_is_not_done_again(tmp_path: Path, target: str) -> None:
    done: list[str] = []

    async def handle(text: Text, call: CustomCall) -> str:
        done.append(call.idempotency_key)
        return text.value

    operations = CustomOperations()
    operations.add(Text, handle)
    operation = operation_pb2.EffectOperation()
    operation.custom.Pack(Text(value="x"))
    async with executing(tmp_path, {"outside": CustomTarget()}, operations) as executor:
        again_after(40)
        with pytest.raises(OutcomeUnknownError):
            await executor.execute(contract(target, operation, "k"))
        # Without a key nothing is recognised, whatever its age.
        await executor.execute(contract(target, operation))
        enter_call(CallContext(CORRELATION))
        await executor.execute(contract(target, operation, "k"))
    assert done == ["", "k"]
