"""The generated modules of these tests are what the generator makes of their protos."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent


def modules(folder: Path) -> Mapping[str, str]:
    found = sorted(path for path in folder.rglob("*_*.py*") if "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_text() for path in found}


def test_they_are_fresh(tmp_path: Path) -> None:
    """Else: onex generate tests/mesh/typed/protos --out tests/mesh/typed/generated."""
    command = [sys.executable, "-m", "onex_grpc.cli", "generate", str(HERE / "protos")]

    subprocess.run([*command, "--out", str(tmp_path)], check=True, timeout=60)

    assert modules(tmp_path) == modules(HERE / "generated")
