"""The reducer of docs/nodes.md: generated, tried and served as the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from onex_grpc.testing.process import NodeProcess

PAGE = Path(__file__).parents[3] / "docs" / "nodes.md"
SECTION = PAGE.read_text().split("\n## A reducer from a contract of your own\n")[1]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        check=True,
        timeout=50,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with her proto, and her node beside what was generated."""
    [proto] = blocks("proto")
    (tmp_path / "house" / "v1").mkdir(parents=True)
    (tmp_path / "house" / "v1" / "rooms.proto").write_text(proto)
    run(tmp_path, "-m", "onex_grpc.cli", "generate", "house/v1/rooms.proto", "--out", ".")
    (tmp_path / "rooms.py").write_text(blocks("python")[0])
    return tmp_path


def test_it_is_tried_as_printed(folder: Path) -> None:
    (folder / "trial.py").write_text(blocks("python")[1])

    assert f"It prints `{run(folder, 'trial.py').strip()}`" in SECTION


async def test_it_is_served(folder: Path) -> None:
    async with NodeProcess("rooms:Rooms", folder=folder) as served:
        assert served.node == "reducer/room"
