"""gRPC ignores an option whose name it does not know, so each name is looked up in its library."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest
from grpc._cython import cygrpc  # type: ignore[attr-defined]

import onex_grpc
from onex_grpc.rpc import Keepalive
from onex_grpc.rpc.limits import client_options, server_options

LIBRARY: Final = Path(cygrpc.__file__).read_bytes()
PACKAGE: Final = Path(onex_grpc.__file__).parent
# Names of services, which are no options.
SERVICES: Final = ("grpc.health.", "grpc.reflection.", "grpc.aio.")


def is_known(name: str) -> bool:
    """Return whether the library holds the name up to its end."""
    return name.encode() + b"\0" in LIBRARY


def written_in_the_package() -> set[str]:
    """Return every text of the package that looks like the name of an option."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
                if text.startswith("grpc.") and " " not in text and "[" not in text:
                    found.add(text)
    return {text for text in found if not text.startswith(SERVICES) and text != "grpc."}


@pytest.mark.parametrize("name", sorted(written_in_the_package()))
def test_option_is_one_that_the_installed_grpc_reads(name: str) -> None:
    assert is_known(name)


def test_names_are_told_apart_from_those_that_grpc_ignores() -> None:
    assert is_known("grpc.http2.min_ping_interval_without_data_ms")
    assert not is_known("grpc.http2.min_recv_ping_interval_without_data_ms")


def test_all_options_in_use_were_looked_up() -> None:
    used = {name for name, _ in server_options(1, Keepalive(), 1)}
    used |= {name for name, _ in client_options(1, Keepalive(), "node.test")}

    assert used <= written_in_the_package()


def test_no_option_is_given_twice() -> None:
    for options in (server_options(1, Keepalive(), 1), client_options(1, Keepalive(), "x")):
        names = [name for name, _ in options]
        assert len(names) == len(set(names))
