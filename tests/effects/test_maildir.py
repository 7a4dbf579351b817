"""Notifications into a real Maildir."""

from __future__ import annotations

import asyncio
import errno
import mailbox
import os
from email.parser import BytesParser
from email.policy import default
from typing import TYPE_CHECKING

import pytest

from onex.v1 import operation_pb2
from onex_grpc.contract.data import unpack
from onex_grpc.effect import MaildirTarget, MailTemplate
from onex_grpc.errors import (
    AlreadyExistsError,
    ConfigurationError,
    ContractValidationError,
    DeadlineExceededError,
    OperationRefusedError,
    OutcomeUnknownError,
    UnavailableError,
)
from tests.effects.making import (
    CORRELATION,
    contract,
    executing,
    maildir_settings,
    scalar,
)

if TYPE_CHECKING:
    from email.message import EmailMessage, Message
    from pathlib import Path

    from onex_grpc.effect import EffectExecutor

KEY = "0b9e5a53-93a8-4c0e-9d24-1d7a9c4e7c55"


def notification(
    to: str = "customer-1@example.invalid",
    template: str = "placed",
    **data: str | int | None,
) -> operation_pb2.EffectOperation:
    values: dict[str, str | int | None] = {"id": "o-1", "name": "Zoë", "cents": 1999, **data}
    return operation_pb2.EffectOperation(
        notification=operation_pb2.Notification(
            template=template, to=to, data={name: scalar(value) for name, value in values.items()}
        )
    )


def messages(folder: Path) -> list[Message]:
    return list(mailbox.Maildir(folder / "mail", create=False))


async def test_a_message_arrives(executor: EffectExecutor, tmp_path: Path) -> None:
    output = await executor.execute(contract("mail", notification(), key=KEY))
    assert unpack(output.operation_result) == KEY
    raw = (tmp_path / "mail/new" / KEY).read_bytes()
    message: EmailMessage = BytesParser(policy=default).parsebytes(raw)
    assert message["To"] == "customer-1@example.invalid"
    assert message["From"] == "shop@example.invalid"
    assert message["Subject"] == "Order o-1 placed"
    assert message["X-Onex-Correlation-Id"] == CORRELATION
    assert message.get_content() == "Zoë, it is 1999$.\n"
    assert len(messages(tmp_path)) == 1
    assert not list((tmp_path / "mail/tmp").iterdir())


async def test_a_repeat_adds_nothing(executor: EffectExecutor, tmp_path: Path) -> None:
    effect = contract("mail", notification(), key=KEY)
    await asyncio.gather(*(executor.execute(effect) for _ in range(5)))
    assert (await executor.execute(effect)).metadata.replayed
    assert len(messages(tmp_path)) == 1
    with pytest.raises(AlreadyExistsError):
        await executor.execute(contract("mail", notification(name="Eve"), key=KEY))


async def test_a_repeat_after_the_record_was_lost(tmp_path: Path) -> None:
    """As after a kill between delivery and record: only the file's name says that it happened."""
    for store in ("one", "two"):
        (tmp_path / store).mkdir()
        async with executing(tmp_path / store, {"mail": maildir_settings(tmp_path)}) as executor:
            await executor.execute(contract("mail", notification(), key=KEY))
    assert len(messages(tmp_path)) == 1


async def test_a_message_that_was_read_is_not_sent_again(tmp_path: Path) -> None:
    for store in ("one", "two"):
        (tmp_path / store).mkdir()
        async with executing(tmp_path / store, {"mail": maildir_settings(tmp_path)}) as executor:
            await executor.execute(contract("mail", notification(), key=KEY))
        new = tmp_path / "mail/new" / KEY
        if new.exists():
            new.rename(tmp_path / "mail/cur" / f"{KEY}:2,S")
    assert len(messages(tmp_path)) == 1


async def test_without_a_key_each_is_sent(executor: EffectExecutor, tmp_path: Path) -> None:
    for _ in range(2):
        await executor.execute(contract("mail", notification()))
    assert len(messages(tmp_path)) == 2


async def test_interrupted_only_a_keyed_delivery_may_be_repeated(executor: EffectExecutor) -> None:
    at_once = 0.000_001
    with pytest.raises(OutcomeUnknownError):
        await executor.execute(contract("mail", notification(), timeout=at_once))
    with pytest.raises(DeadlineExceededError, match="harmless"):
        await executor.execute(contract("mail", notification(), key=KEY, timeout=at_once))


async def test_what_has_not_arrived_is_not_unknown(
    executor: EffectExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(UnavailableError, match="disk full"):
            await executor.execute(contract("mail", notification()))
    assert not messages(tmp_path)
    assert not list((tmp_path / "mail/tmp").iterdir())


@pytest.mark.parametrize("key", ["../../evil", "a/b", "A", ".hidden", "a:2,S", "x" * 200])
async def test_keys_become_harmless_names(
    executor: EffectExecutor, tmp_path: Path, key: str
) -> None:
    await executor.execute(contract("mail", notification(), key=key))
    (name,) = (path.name for path in (tmp_path / "mail/new").iterdir())
    assert name.startswith("sha256-")
    assert messages(tmp_path)[0]["X-Onex-Idempotency-Key"] == key


@pytest.mark.parametrize(
    "to",
    [
        "someone@elsewhere.invalid",
        "a@example.invalid\r\nBcc: b@evil.invalid",
        "a@example.invalid\n",
        "a@evil.invalid, b@example.invalid",
        "b <a@example.invalid>@example.invalid",
    ],
)
async def test_recipients_are_confined(executor: EffectExecutor, tmp_path: Path, to: str) -> None:
    with pytest.raises((OperationRefusedError, ContractValidationError)):
        await executor.execute(contract("mail", notification(to)))
    assert not messages(tmp_path)


@pytest.mark.parametrize("value", ["x\r\nBcc: evil@evil.invalid", "x\ny", "x\ry"])
async def test_headers_cannot_be_injected(
    executor: EffectExecutor, tmp_path: Path, value: str
) -> None:
    with pytest.raises(ContractValidationError, match="header"):
        await executor.execute(contract("mail", notification(id=value)))
    assert not messages(tmp_path)


async def test_what_the_template_needs(executor: EffectExecutor) -> None:
    with pytest.raises(ContractValidationError, match="known are placed"):
        await executor.execute(contract("mail", notification(template="other")))
    with pytest.raises(ContractValidationError, match=r"data\[name\]"):
        await executor.execute(contract("mail", notification(name=None)))
    operation = notification()
    del operation.notification.data["cents"]
    with pytest.raises(ContractValidationError, match="needs cents"):
        await executor.execute(contract("mail", operation))


@pytest.mark.parametrize(
    ("subject", "recipients", "named"), [("$", ".*", "subject"), ("x", "(", "regular expression")]
)
async def test_wrong_settings(tmp_path: Path, subject: str, recipients: str, named: str) -> None:
    wrong = MaildirTarget(
        path=str(tmp_path / "mail"),
        sender="a@example.invalid",
        recipients=recipients,
        templates={"t": MailTemplate(subject=subject, body="")},
    )
    with pytest.raises(ConfigurationError, match=named):
        async with executing(tmp_path, {"mail": wrong}):
            pass
