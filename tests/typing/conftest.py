"""What mypy and pyright say, one run each: about users' code, right and wrong, and the goldens'."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
HERE = Path(__file__).parent

_MYPY_ERROR = re.compile(r"(?P<file>[^:]+):(?P<line>\d+): error: (?P<text>.*)")


@dataclass(frozen=True)
class Said:
    """An error that a type checker reports."""

    file: Path
    line: int
    text: str


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Messages and nodes of the protos of the goldens."""
    out = tmp_path_factory.mktemp("typing") / "generated"
    command = [str(BIN / "onex"), "generate", "tests/codegen/protos", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60, capture_output=True)
    return out


@pytest.fixture(scope="session")
def mypy(generated: Path) -> Sequence[Said]:
    """Errors of mypy --strict."""
    goldens = sorted(path.relative_to(generated) for path in generated.rglob("*_onex.py"))
    modules = [".".join(path.with_suffix("").parts) for path in goldens]
    wanted = [f"--module={name}" for name in ("tests.typing.ok", "tests.typing.wrong", *modules)]
    run = subprocess.run(
        [BIN / "mypy", "--no-error-summary", "--hide-error-context", "--no-pretty", *wanted],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(generated)},
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    found = [_MYPY_ERROR.fullmatch(line) for line in run.stdout.splitlines()]
    assert any(found), run.stdout + run.stderr
    return [
        Said((ROOT / each["file"]).resolve(), int(each["line"]), each["text"])
        for each in found
        if each
    ]


@pytest.fixture(scope="session")
def pyright(generated: Path) -> Sequence[Said]:
    """Errors of pyright in its strict mode."""
    goldens = [str(path.relative_to(generated.parent)) for path in generated.rglob("*_onex.py")]
    settings = generated.parent / "pyrightconfig.json"
    # Its paths are relative to it.
    users = [os.path.relpath(HERE / name, generated.parent) for name in ("ok.py", "wrong.py")]
    settings.write_text(
        json.dumps(
            {
                "include": [*users, *goldens],
                "extraPaths": [str(ROOT), str(ROOT / "generated"), str(generated)],
                "typeCheckingMode": "strict",
            }
        )
    )
    run = subprocess.run(
        [BIN / "pyright", "--project", settings, "--pythonpath", sys.executable, "--outputjson"],
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    report = json.loads(run.stdout)
    assert report["summary"]["filesAnalyzed"] == len(goldens) + len(users)
    return [
        Said(Path(each["file"]).resolve(), each["range"]["start"]["line"] + 1, each["message"])
        for each in report["generalDiagnostics"]
        if each["severity"] == "error"
    ]
