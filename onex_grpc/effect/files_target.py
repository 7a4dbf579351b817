"""A folder of files as a target."""

from __future__ import annotations

import asyncio
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import wrappers_pb2

from onex.v1 import common_pb2
from onex_grpc.effect.confined import ConfinedRoot, open_regular, translated
from onex_grpc.effect.lines import LineIndex
from onex_grpc.effect.operation import EffectRequest, Progress, Repeat
from onex_grpc.effect.refusal import refuse_kind, refuse_unless
from onex_grpc.effect.target import Outcome, Plan
from onex_grpc.errors import ConfigurationError, FileMissingError, ResourceExhaustedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from onex.v1 import operation_pb2
    from onex_grpc.effect.settings import FilesTarget


class FileFolder:
    """Reads, replaces and deletes files below one folder."""

    kind = "files"
    keeps_outcomes = False

    def __init__(self, name: str, settings: FilesTarget) -> None:
        self._name = name
        self._settings = settings
        self._root = ConfinedRoot(Path(settings.root))
        self._lines = LineIndex()
        # One thread: the order of writes is that of their requests, and the line index is its own.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"effect-{name}")

    async def open(self) -> None:
        """Creates the folder where writing is allowed.

        Raises:
            ConfigurationError: when it is no folder that can be used.
        """
        root = self._root.root
        try:
            if "write" in self._settings.allow:
                root.mkdir(parents=True, exist_ok=True)
            os.close(self._root.open_folder([], create=False))
        except OSError as error:
            raise ConfigurationError(
                f"target {self._name!r}: root {root} cannot be used: {error.strerror}"
            ) from error

    async def close(self) -> None:
        """Finishes what was begun."""
        await asyncio.to_thread(self._thread.shutdown)

    def plan(self, request: EffectRequest) -> Plan:
        """The operation with its path checked; all three actions may be repeated."""
        refuse_kind(request, "file")
        operation = request.operation.file
        action = str(operation.WhichOneof("action"))
        refuse_unless(action in self._settings.allow, request, action)
        folders, name = self._root.split(operation.path)
        if action == "write":
            self._check_size(operation.path, len(operation.write.content))
        work: Callable[[], common_pb2.Data] = {
            "read": lambda: self._read(operation, folders, name),
            "write": lambda: self._write(operation, folders, name),
            "delete": lambda: self._delete(operation, folders, name),
        }[action]

        async def perform(progress: Progress) -> Outcome:
            progress.begun = True
            loop = asyncio.get_running_loop()
            return Outcome(await loop.run_in_executor(self._thread, work))

        return Plan(action != "read", Repeat.HARMLESS, perform)

    def _read(
        self, operation: operation_pb2.FileOperation, folders: list[str], name: str
    ) -> common_pb2.Data:
        folder = self._root.open_folder(folders, create=False)
        try:
            descriptor = open_regular(folder, name, operation.path)
        finally:
            os.close(folder)
        try:
            if operation.read.line:
                limit = self._settings.max_bytes
                content = self._lines.read(descriptor, operation.path, operation.read.line, limit)
            else:
                self._check_size(operation.path, os.fstat(descriptor).st_size)
                with os.fdopen(os.dup(descriptor), "rb") as file:
                    content = file.read(self._settings.max_bytes + 1)
        finally:
            os.close(descriptor)
        self._check_size(operation.path, len(content))
        return _content(content)

    def _write(
        self, operation: operation_pb2.FileOperation, folders: list[str], name: str
    ) -> common_pb2.Data:
        folder = self._root.open_folder(folders, create=True)
        aside = f".{secrets.token_hex(8)}.onex-tmp"
        try:
            _refuse_folder(folder, name, operation.path)
            _write_durably(folder, aside, operation.write.content)
            os.rename(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        except OSError as error:
            _remove(folder, aside)
            raise translated(error, operation.path) from error
        finally:
            os.close(folder)
        return common_pb2.Data()

    def _delete(
        self, operation: operation_pb2.FileOperation, folders: list[str], name: str
    ) -> common_pb2.Data:
        try:
            folder = self._root.open_folder(folders, create=False)
        except FileMissingError:
            return common_pb2.Data()
        try:
            _remove(folder, name)
            os.fsync(folder)
        except OSError as error:
            raise translated(error, operation.path) from error
        finally:
            os.close(folder)
        return common_pb2.Data()

    def _check_size(self, path: str, size: int) -> None:
        if size > self._settings.max_bytes:
            raise ResourceExhaustedError(
                f"{path!r}: {size} bytes are more than the {self._settings.max_bytes} that "
                f"target {self._name!r} allows (max_bytes)",
                context={"path": path},
            )


def _content(content: bytes) -> common_pb2.Data:
    data = common_pb2.Data()
    try:
        data.value.string_value = content.decode("utf-8")
    except UnicodeDecodeError:
        data.message.Pack(wrappers_pb2.BytesValue(value=content))
    return data


def _write_durably(folder: int, name: str, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o644, dir_fd=folder), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _refuse_folder(folder: int, name: str, path: str) -> None:
    """A rename would replace a link or a device by the file; both are left alone."""
    try:
        os.close(open_regular(folder, name, path))
    except FileMissingError:
        return


def _remove(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
