"""The sample mesh as `make serve` runs it, and clients that know only its .proto files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from servers.supervisor import KINDS, free_ports

ROOT = Path(__file__).parents[2]
NODE_FOLDER = Path(__file__).parent / "node"
BIN = Path(sys.executable).parent

Call = Callable[..., dict[str, object]]


@dataclass(frozen=True, slots=True)
class ServedMesh:
    """A running mesh: the address of each kind, and its state folder."""

    addresses: dict[str, str]
    state: Path

    def log(self, kind: str) -> list[dict[str, object]]:
        """The JSON log lines of one server so far."""
        text = (self.state / "logs" / f"{kind}.log").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@contextmanager
def serve(state: Path, environment: dict[str, str]) -> Iterator[ServedMesh]:
    """`make serve` over a state folder, ready when the block begins."""
    ports = free_ports(len(KINDS))
    command = (sys.executable, "-m", "servers.serve", "--state", str(state))
    process = subprocess.Popen(
        (*command, "--ports", ",".join(map(str, ports))),
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline().strip()
            assert line == "mesh ready", process.stderr.read()
            addresses = {kind: f"127.0.0.1:{port}" for kind, port in zip(KINDS, ports, strict=True)}
            yield ServedMesh(addresses, state)
        finally:
            process.terminate()
            process.communicate(timeout=60)


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedMesh]:
    with serve(tmp_path_factory.mktemp("serve"), {}) as served:
        yield served


@pytest.fixture(scope="session")
def node_call() -> Call:
    """Runs one command of the Node.js client and returns what it printed."""
    path = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    if not (NODE_FOLDER / "node_modules").exists():
        _run(("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"), path)

    def call(command: str, address: str, *options: str) -> dict[str, object]:
        protos = ("--protos", str(ROOT / "proto"))
        return _run_json(("node", "client.js", command, address, *protos, *options), path)

    return call


def _run(command: Sequence[str], environment: dict[str, str]) -> str:
    program = str(BIN / command[0])
    done = subprocess.run(
        (program, *command[1:]),
        cwd=NODE_FOLDER,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, re.sub(r"\s+", " ", done.stderr)
    return done.stdout


def _run_json(command: Sequence[str], environment: dict[str, str]) -> dict[str, object]:
    return cast("dict[str, object]", json.loads(_run(command, environment)))
