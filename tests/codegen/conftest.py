"""Programs of the venv that the tests run in, and the protos of the goldens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture
def protos() -> Path:
    """The folder with the protos of the goldens."""
    return ROOT / "tests" / "codegen" / "protos"


@pytest.fixture
def goldens() -> Path:
    """The folder with what is generated from them."""
    return ROOT / "tests" / "codegen" / "goldens"


@pytest.fixture
def protoc() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs protoc with our plugin alone: files as their imports name them, in the given folders."""

    def run(
        files: Sequence[str], roots: Sequence[Path], *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        command = [
            *(sys.executable, "-m", "grpc_tools.protoc"),
            f"--plugin=protoc-gen-onex={BIN / 'protoc-gen-onex'}",
            *(f"--proto_path={root}" for root in (*roots, ROOT / "proto")),
            *arguments,
            *files,
        ]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=30, env=environment
        )

    return run


@pytest.fixture
def onex() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the installed command in a folder, as a shell without a PATH would."""

    def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "onex", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env={},
        )

    return run
