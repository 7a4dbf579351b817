"""What the README and the docs show: saved, run, called; compared with what they print."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from msgspec import inspect

from onex_grpc.serve.settings import LimitSettings, Settings, TlsSettings
from onex_grpc.testing.process import NodeProcess

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
README = (ROOT / "README.md").read_text(encoding="utf-8")
NODES = (ROOT / "docs" / "nodes.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.timeout(90)


def block(text: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found, f"no {language} here"
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def section(heading: str) -> str:
    return README.split(f"\n## {heading}\n")[1].split("\n## ")[0]


async def run(*command: str, at: Path = ROOT) -> str:
    process = await asyncio.create_subprocess_exec(*command, cwd=at, stdout=PIPE, stderr=PIPE)
    stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()
    return stdout.decode()


async def test_the_first_node_answers_as_printed(tmp_path: Path) -> None:
    first = section("A first node")
    node, client = blocks(first, "python")
    assert len([line for line in node.splitlines() if line.strip()]) <= 20
    (tmp_path / "shop" / "v1").mkdir(parents=True)
    (tmp_path / "shop" / "v1" / "tax.proto").write_text(block(first, "proto"))
    (tmp_path / "tax.py").write_text(node)
    generated = await run(
        str(BIN / "onex"), "generate", "shop/v1/tax.proto", "--out", ".", at=tmp_path
    )
    assert generated in block(first, "console")
    calling = block(section("Calling it from another language"), "console")
    command = re.search(
        r"-d '(?P<data>.*?)' http://[^/]+/(?P<method>\S+)\n(?P<answer>.*)", calling, re.DOTALL
    )
    assert command
    async with NodeProcess("tax:Tax", folder=tmp_path) as process:
        assert f"serving {process.node} on" in first
        options = ("--protocol", "grpc", "--http2-prior-knowledge", "-d", command["data"])
        url = f"http://{process.address}/{command['method']}"
        printed = await run(str(BIN / "buf"), "curl", *options, url)
        (tmp_path / "client.py").write_text(client.replace("127.0.0.1:50052", process.address))
        called = await run(sys.executable, "client.py", at=tmp_path)
    assert json.loads(printed) == json.loads(command["answer"])
    assert f"# {called.strip()}" in client


async def test_nodes_by_hand_print_what_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "by-hand.md").read_text(encoding="utf-8")
    (tmp_path / "example.py").write_text(block(page, "python"))
    assert await run(sys.executable, str(tmp_path / "example.py")) == block(page, "text")


@pytest.fixture
async def house(tmp_path: Path) -> Path:
    """A folder with the pieces of docs/nodes.md and what is generated from them."""
    (tmp_path / "house" / "v1").mkdir(parents=True)
    (tmp_path / "house" / "v1" / "house.proto").write_text(block(NODES, "proto"))
    for name, source in zip(("nodes", "main", "trial"), blocks(NODES, "python"), strict=True):
        (tmp_path / f"{name}.py").write_text(source)
    await run(str(BIN / "onex"), "generate", "house/v1/house.proto", "--out", ".", at=tmp_path)
    return tmp_path


async def test_the_thermostat_prints_what_the_page_says(house: Path) -> None:
    assert await run(sys.executable, "main.py", at=house) == block(NODES, "text")


async def test_a_reducer_is_tried_as_printed(house: Path) -> None:
    assert f"It prints `{(await run(sys.executable, 'trial.py', at=house)).strip()}`" in NODES


async def test_the_nodes_are_typed(house: Path) -> None:
    command = ("-m", "mypy", "--strict", "--explicit-package-bases", "nodes.py", "main.py")
    assert "Success" in await run(sys.executable, *command, at=house)


async def test_a_node_of_the_thermostat_is_served(house: Path) -> None:
    async with NodeProcess("nodes:Rooms", folder=house) as served:
        assert served.node == "reducer/room"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_promise_names_tests_that_there_are() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[^`]+)`", page)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("table", [Settings, LimitSettings, TlsSettings])
def test_every_setting_stands_on_its_page(table: type) -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    kind = inspect.type_info(table)
    assert isinstance(kind, inspect.StructType)
    missing = [
        f.name for f in kind.fields if f"`{f.name}`" not in page and f"[{f.name}" not in page
    ]
    assert missing == []
