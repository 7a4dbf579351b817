"""Addresses at which no store can be: each refusal says what to write, and none makes a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from onex_grpc.errors import ConfigurationError, DatabaseConnectionError
from onex_grpc.store import open_store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which relative paths begin."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "address",
    [
        "mysql://host/db",
        "http://host",
        "SQLITE:///s.db",
        "memory://",
        "sqlite:///",
        "sqlite:///  ",
        "",
        # What is nearly the address of a database is no file's name.
        "postgresql:db",
        "postgresql:/user:hunter2@host/db",
        "postgres:user:hunter2@host",
        "sqlite:s.db",
        "sqlite:/tmp/s.db",
        "sqlite://s.db",
        "sqlite:///postgresql://user:hunter2@host/db",
        "mysql:db",
        "file:s.db",
    ],
)
async def test_unknown_kind_says_which_there_are(folder: Path, address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await open_store(address)
    assert caught.value.message.startswith("store ")
    assert "sqlite:///path" in caught.value.message
    assert "postgresql://user@" in caught.value.message
    assert "hunter2" not in str(caught.value)
    assert os.listdir(folder) == []


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("sqlite:///s.db?mode=ro", "leave out"),
        ("sqlite:///a\0b.db", "control characters"),
        ("a\nb.db", "control characters"),
        (f"sqlite:///{'x' * 300}/s.db", "another state folder"),
    ],
)
async def test_path_that_cannot_be_is_refused(folder: Path, address: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy):
        await open_store(address)
    assert os.listdir(folder) == []


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://[::1/db",
        "postgresql://u:hunter2@h:port/db",
        "postgresql://u:hunter2@h/db?no_such_option=1",
        "postgresql://u:hunter2@h/%zz",
    ],
)
async def test_address_of_a_server_is_checked_before_it_is_called(address: str) -> None:
    with pytest.raises((ConfigurationError, DatabaseConnectionError)) as caught:
        await open_store(address)
    assert caught.value.message.startswith(("store: ", "the store's PostgreSQL "))
    assert "hunter2" not in str(caught.value)
