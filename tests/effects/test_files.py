"""Effects on real files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.protobuf import wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import operation_pb2
from onex_grpc.contract.data import unpack, unpack_as
from onex_grpc.effect import FilesTarget
from onex_grpc.effect.confined import ConfinedRoot
from onex_grpc.effect.lines import LineIndex
from onex_grpc.errors import (
    ConfigurationError,
    FileMissingError,
    OperationRefusedError,
    ResourceExhaustedError,
)
from tests.effects.making import contract, executing

if TYPE_CHECKING:
    from onex_grpc.effect import EffectExecutor


def reading(path: str, line: int = 0) -> operation_pb2.EffectOperation:
    file = operation_pb2.FileOperation(path=path, read=operation_pb2.FileRead(line=line))
    return operation_pb2.EffectOperation(file=file)


def writing(path: str, content: bytes) -> operation_pb2.EffectOperation:
    file = operation_pb2.FileOperation(path=path, write=operation_pb2.FileWrite(content=content))
    return operation_pb2.EffectOperation(file=file)


def deleting(path: str) -> operation_pb2.EffectOperation:
    file = operation_pb2.FileOperation(path=path, delete=operation_pb2.FileDelete())
    return operation_pb2.EffectOperation(file=file)


async def test_write_read_delete(executor: EffectExecutor, tmp_path: Path) -> None:
    await executor.execute(contract("files", writing("a/b/c.txt", "größe\n".encode())))
    output = await executor.execute(contract("files", reading("a/b/c.txt")))
    assert unpack(output.operation_result) == "größe\n"
    assert os.listdir(tmp_path / "files/a/b") == ["c.txt"]
    for _ in range(2):
        await executor.execute(contract("files", deleting("a/b/c.txt")))
    await executor.execute(contract("files", deleting("nowhere/c.txt")))
    with pytest.raises(FileMissingError, match=r"c\.txt"):
        await executor.execute(contract("files", reading("a/b/c.txt")))


async def test_bytes_that_are_no_text(executor: EffectExecutor) -> None:
    await executor.execute(contract("files", writing("b.bin", b"\xff\0")))
    output = await executor.execute(contract("files", reading("b.bin")))
    assert unpack_as(output.operation_result, wrappers_pb2.BytesValue).value == b"\xff\0"


async def test_lines_and_their_end(executor: EffectExecutor, tmp_path: Path) -> None:
    path = tmp_path / "files" / "lines.csv"
    path.write_bytes(b"".join(b"line %d\r\n" % n for n in range(1, 201)) + b"last")
    for line, text in ((1, "line 1"), (64, "line 64"), (65, "line 65"), (201, "last")):
        output = await executor.execute(contract("files", reading("lines.csv", line)))
        assert unpack(output.operation_result) == text
    with pytest.raises(FileMissingError, match="201 lines, no line 202"):
        await executor.execute(contract("files", reading("lines.csv", 202)))


async def test_a_changed_file_is_read_anew(executor: EffectExecutor) -> None:
    for content in (b"a\nb\n", b"longer\nlines\n"):
        await executor.execute(contract("files", writing("f", content)))
        output = await executor.execute(contract("files", reading("f", 2)))
        assert unpack(output.operation_result) == content.split(b"\n")[1].decode()


async def test_a_keyed_write_happens_once(executor: EffectExecutor, tmp_path: Path) -> None:
    effect = contract("files", writing("f", b"once"), key="k")
    await executor.execute(effect)
    (tmp_path / "files/f").write_bytes(b"changed by hand")
    output = await executor.execute(effect)
    assert output.metadata.replayed
    assert (tmp_path / "files/f").read_bytes() == b"changed by hand"


async def test_sizes_are_limited(executor: EffectExecutor, tmp_path: Path) -> None:
    with pytest.raises(ResourceExhaustedError, match="max_bytes"):
        await executor.execute(contract("files", writing("f", b"x" * 1001)))
    (tmp_path / "files/f").write_bytes(b"x" * 1001)
    for line in (0, 1):
        with pytest.raises(ResourceExhaustedError, match="max_bytes"):
            await executor.execute(contract("files", reading("f", line)))


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../secret", "a/../../secret", "a//b", "./a", "", "a\0b", "a\\..\\b", "a/"],
)
async def test_paths_that_leave_the_root(executor: EffectExecutor, path: str) -> None:
    for operation in (reading(path), writing(path, b""), deleting(path)):
        with pytest.raises(OperationRefusedError, match="plain path"):
            await executor.execute(contract("files", operation))


async def test_links_lead_nowhere(executor: EffectExecutor, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    root = tmp_path / "files"
    (root / "link").symlink_to(secret)
    (root / "folder").symlink_to(tmp_path, target_is_directory=True)
    os.link(secret, root / "hard")
    os.mkfifo(root / "pipe")
    for path in ("link", "folder/secret", "hard", "pipe"):
        for operation in (reading(path), writing(path, b"changed")):
            with pytest.raises(OperationRefusedError):
                await executor.execute(contract("files", operation))
    with pytest.raises(OperationRefusedError):
        await executor.execute(contract("files", deleting("folder/secret")))
    assert secret.read_text() == "secret"


async def test_only_what_is_allowed(tmp_path: Path) -> None:
    root = tmp_path / "read"
    root.mkdir()
    (root / "f").write_text("text")
    async with executing(tmp_path, {"files": FilesTarget(root=str(root))}) as executor:
        await executor.execute(contract("files", reading("f")))
        for operation, permission in ((writing("f", b""), "write"), (deleting("f"), "delete")):
            with pytest.raises(OperationRefusedError, match=permission):
                await executor.execute(contract("files", operation))
    with pytest.raises(ConfigurationError, match="gone"):
        async with executing(tmp_path, {"files": FilesTarget(root=str(tmp_path / "gone"))}):
            pass


@given(path=st.text(max_size=30))
def test_split_never_leaves(path: str) -> None:
    try:
        folders, name = ConfinedRoot(Path("/root")).split(path)
    except OperationRefusedError:
        return
    joined = os.path.normpath("/".join([*folders, name]))
    assert not joined.startswith(("/", ".."))
    assert "\0" not in joined


@given(lines=st.lists(st.binary(max_size=5).filter(lambda b: b"\n" not in b), max_size=150))
def test_every_line_is_found(lines: list[bytes]) -> None:
    with open(os.memfd_create("lines"), "w+b") as file:
        file.write(b"".join(line + b"\n" for line in lines))
        file.flush()
        index = LineIndex()
        found = [index.read(file.fileno(), "f", n + 1, 100) for n in range(len(lines))]
        assert found == [line.removesuffix(b"\r") for line in lines]
