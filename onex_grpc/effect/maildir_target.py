"""A Maildir as a target of notifications.

The message's file is named by its idempotency key and comes into being exclusively, so that a
repeat adds nothing, even after a crash at any point.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onex.v1 import common_pb2
from onex_grpc.effect.confined import translated
from onex_grpc.effect.mail_message import MailForm
from onex_grpc.effect.operation import EffectRequest, Progress, Repeat
from onex_grpc.effect.refusal import refuse_kind
from onex_grpc.effect.target import Outcome, Plan
from onex_grpc.errors import (
    ConfigurationError,
    ContractValidationError,
    OperationRefusedError,
    Violation,
)

if TYPE_CHECKING:
    from onex_grpc.effect.settings import MaildirTarget

# Lower case alone: on a file system that ignores case, `A` and `a` would be one message.
_PLAIN_KEY: Final = re.compile(r"(?!sha256-)[a-z0-9][a-z0-9._-]{0,99}")
_THREADS: Final = 4


class Maildir:
    """Delivers templated messages to allowed recipients."""

    kind = "maildir"
    keeps_outcomes = False

    def __init__(self, name: str, settings: MaildirTarget) -> None:
        self._name = name
        self._settings = settings
        self._folder = Path(settings.path)
        self._recipients = _pattern(name, settings.recipients)
        self._forms = {key: MailForm(key, form) for key, form in settings.templates.items()}
        # Several: each delivery waits for the disk, and they do not depend on each other.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"effect-{name}")
        self._seen_at = -1
        self._seen: frozenset[str] = frozenset()

    async def open(self) -> None:
        """Creates the Maildir.

        Raises:
            ConfigurationError: when it cannot be used.
        """
        try:
            for part in ("tmp", "new", "cur"):
                (self._folder / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"target {self._name!r}: {self._folder} cannot be used: {error.strerror}"
            ) from error

    async def close(self) -> None:
        """Finishes what was begun."""
        await asyncio.to_thread(self._threads.shutdown)

    def plan(self, request: EffectRequest) -> Plan:
        """The message, complete; without a key it gets a random name, the same for all attempts."""
        refuse_kind(request, "notification")
        notification = request.operation.notification
        if not self._recipients.fullmatch(notification.to):
            raise OperationRefusedError(
                f"target {self._name!r} does not deliver to {notification.to!r}; "
                "its `recipients` must match",
                context={"target": self._name},
            )
        form = self._forms.get(notification.template)
        if form is None:
            known = ", ".join(sorted(self._forms))
            raise ContractValidationError.of(
                Violation("operation.notification.template", f"is unknown; known are {known}")
            )
        file_name = _file_name(request.key)
        message = form.message(request, self._settings.sender, file_name)

        async def perform(progress: Progress) -> Outcome:
            progress.begun = True
            loop = asyncio.get_running_loop()
            deliver = partial(self._deliver, file_name, message, progress)
            added = await loop.run_in_executor(self._threads, deliver)
            data = common_pb2.Data()
            data.value.string_value = file_name
            return Outcome(data, replayed=not added)

        return Plan(True, Repeat.KEYED if request.key else Repeat.OWN_KEY, perform)

    def _deliver(self, name: str, message: bytes, progress: Progress) -> bool:
        """Whether the message was added; False where it lies there already."""
        aside = self._folder / "tmp" / f"{name}.{secrets.token_hex(4)}"
        try:
            try:
                if self._was_read(name):
                    return False
                _write_durably(aside, message)
            except OSError:
                # Nothing has arrived.
                progress.begun = False
                raise
            return self._add(aside, name)
        except OSError as error:
            raise translated(error, str(self._folder)) from error
        finally:
            aside.unlink(missing_ok=True)

    def _add(self, aside: Path, name: str) -> bool:
        try:
            # A link, since a rename would silently replace.
            os.link(aside, self._folder / "new" / name)
            added = True
        except FileExistsError:
            added = False
        # Also for a message that was there: its delivery may have died before this.
        _sync_folder(self._folder / "new")
        return added

    def _was_read(self, name: str) -> bool:
        """Whether a mail reader has moved the message to `cur`, where it gets a suffix."""
        cur = self._folder / "cur"
        changed_at = cur.stat().st_mtime_ns
        if changed_at != self._seen_at:
            self._seen = frozenset(entry.name.partition(":2,")[0] for entry in os.scandir(cur))
            self._seen_at = changed_at
        return name in self._seen


def _file_name(key: str) -> str:
    if not key:
        return secrets.token_hex(16)
    if _PLAIN_KEY.fullmatch(key):
        return key
    return f"sha256-{hashlib.sha256(key.encode()).hexdigest()}"


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pattern(name: str, recipients: str) -> re.Pattern[str]:
    try:
        return re.compile(recipients)
    except re.error as error:
        raise ConfigurationError(
            f"target {name!r}: recipients {recipients!r} is no regular expression: {error}"
        ) from error
