"""What is typed at the commands: whatever is wrong is one line of an error, and an exit code that
is not 0.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.mesh.bad_input.served import ROOT, Served

if TYPE_CHECKING:
    from pathlib import Path

NODE = """
from onex.v1 import node_pb2
from onex_grpc import NodeCompute, NodeReducer
D = node_pb2.NodeDescriptor(name="mine", version="1.0.0")
class Good(NodeCompute): descriptor = D
class NoDescriptor(NodeCompute): pass
class NoMessage(NodeCompute): descriptor = {"name": "mine"}
class Unfinished(NodeReducer): descriptor = D
class Raises(NodeCompute):
    descriptor = D
    async def start(self): raise ValueError("planted")
NotAClass = 5
"""
MODULES = {
    "mine": NODE,
    "syntax": "def (",
    "imports": "import nothing_of_this_name",
    "refused": "from onex_grpc import ConfigurationError; raise ConfigurationError('planted')",
    "ungenerated": "from nothing_onex import NothingCompute",
    "raises": "raise RuntimeError('planted')",
}


async def _run(folder: Path, *command: str, **environment: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    # The log's own lines are JSON; an exception in one is on that line.
    lines = [line for line in errors.decode().splitlines() if not line.startswith("{")]
    return process.returncode, "\n".join(lines)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("modules")
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text)
    return folder


async def test_onex_serve_names_what_is_wrong(modules: Path, mesh: Served) -> None:
    used = str(mesh.ports["compute"])
    cases: dict[tuple[str, ...], str] = {
        ("syntax:X",): "module 'syntax' cannot be imported: SyntaxError",
        ("imports:X",): "module 'imports' cannot be imported: ModuleNotFoundError",
        ("refused:X",): "module 'refused' cannot be imported: planted",
        ("ungenerated:X",): "line 1); make it with onex generate",
        ("raises:X",): "module 'raises' cannot be imported: RuntimeError: planted",
        ("none:X",): "there is no module 'none'",
        (".none:X",): "module '.none' cannot be imported",
        ("mine",): "'mine' is not MODULE:CLASS",
        ("mine:NotAClass",): "'NotAClass' is not a node's class",
        ("mine:NoDescriptor",): "NoDescriptor has no descriptor",
        ("mine:NoMessage",): "NoMessage has no descriptor",
        ("mine:Unfinished",): "Unfinished lacks transition",
        ("mine:Raises", "--port", "0"): "Raises failed: ValueError: planted",
        ("mine:Good", "--name", "../x"): "name '../x' does not match",
        ("mine:Good", "--port", used): f"port {used} on 127.0.0.1 cannot be bound",
        ("mine:Good", "--host", "0.0.0.0"): "without TLS a node serves on loopback only",  # noqa: S104
        ("mine:Good", "--config", "none.toml"): "none.toml cannot be read",
    }
    limit = asyncio.Semaphore(3)

    async def check(arguments: tuple[str, ...], said: str) -> None:
        async with limit:
            code, errors = await _run(modules, "onex_grpc.cli", "serve", *arguments)
        assert code in (1, 2), errors
        assert errors.startswith("error: "), errors
        assert said in errors
        assert len(errors.splitlines()) == 1, errors

    await asyncio.gather(*(check(arguments, said) for arguments, said in cases.items()))


async def test_the_samples_commands_name_what_is_wrong(mesh: Served, tmp_path: Path) -> None:
    (tmp_path / "wrong.csv").write_text("a,b\n")
    ports = ",".join(map(str, mesh.ports.values()))
    cases: dict[tuple[str, ...], str] = {
        ("servers.demo", "--orders", "-1"): "neither a number of orders",
        ("servers.demo", "--csv", str(tmp_path / "none.csv")): "No such file",
        ("servers.demo", "--csv", str(tmp_path / "wrong.csv")): "the first line must be",
        ("servers.demo", "--state", str(mesh.state)): "in use by another mesh",
        ("servers.demo", "--state", "/proc/none"): "name a folder that you may write to",
        ("servers.serve", "--state", str(mesh.state)): "in use by another mesh",
        ("servers.serve", "--ports", "1,2,3"): "is not four ports",
        ("servers.serve", "--state", str(tmp_path / "new"), "--ports", ports): "cannot be bound",
    }
    done = await asyncio.gather(*(_run(ROOT, *command) for command in cases))
    for (code, errors), said in zip(done, cases.values(), strict=True):
        assert code in (1, 2), errors
        assert said in errors
        assert "Traceback" not in errors
        assert errors.splitlines()[-1].lower().startswith("error: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stopped_demo_leaves_nothing_running(tmp_path: Path, number: int) -> None:
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "servers.demo", "--orders", "all", "--state", str(tmp_path)),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert demo.stderr is not None
    started = b""
    while b"(pid " not in started:
        started = await demo.stderr.readline()
    os.kill(demo.pid, number)
    errors = (await asyncio.wait_for(demo.communicate(), 30))[1].decode()
    assert demo.returncode == 1
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("error: stopped")
    assert not _processes_with(str(tmp_path))


def _processes_with(argument: str) -> list[list[str]]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if any(argument in word for word in command):
            found.append(command)
    return found
