"""What is generated from tests/codegen/protos/ is tests/codegen/goldens/, byte by byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Protoc = Callable[..., subprocess.CompletedProcess[str]]


def names_of(protos: Path) -> list[str]:
    return sorted(str(path.relative_to(protos)) for path in protos.rglob("*.proto"))


def texts_of(folder: Path) -> Mapping[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*.py")
        if "__pycache__" not in path.parts
    }


def generate(protoc: Protoc, protos: Path, out: Path, **environment: str) -> Mapping[str, bytes]:
    out.mkdir()
    run = protoc(names_of(protos), [protos], f"--onex_out={out}", **environment)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    return texts_of(out)


def test_generated_modules_are_the_goldens(
    protoc: Protoc, protos: Path, goldens: Path, tmp_path: Path
) -> None:
    made = generate(protoc, protos, tmp_path / "out")
    # `make goldens` updates them; then read the difference.
    assert made == texts_of(goldens)


def test_hashing_does_not_change_a_byte(protoc: Protoc, protos: Path, tmp_path: Path) -> None:
    first = generate(protoc, protos, tmp_path / "1", PYTHONHASHSEED="1")
    second = generate(protoc, protos, tmp_path / "2", PYTHONHASHSEED="2")
    assert first == second


def test_order_on_the_command_line_changes_nothing(
    protoc: Protoc, protos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    run = protoc(names_of(protos)[::-1], [protos], f"--onex_out={out}")
    assert run.returncode == 0, run.stderr
    assert texts_of(out) == generate(protoc, protos, tmp_path / "sorted")


def test_every_golden_is_python(goldens: Path) -> None:
    for name, text in texts_of(goldens).items():
        compile(text, name, "exec", dont_inherit=True)


def test_messages_alone_need_nothing(protoc: Protoc, protos: Path, tmp_path: Path) -> None:
    run = protoc(["shop/v1/messages.proto"], [protos], f"--onex_out={tmp_path}")

    assert (run.returncode, run.stderr, texts_of(tmp_path)) == (0, "", {})


def test_the_plugin_has_no_options_of_its_own(protoc: Protoc, protos: Path, tmp_path: Path) -> None:
    run = protoc(["shop/v1/desk.proto"], [protos], f"--onex_out=grpc=no:{tmp_path}")

    assert run.returncode == 1
    assert "protoc-gen-onex has no option grpc=no; leave it out" in run.stderr
