"""`onex check`: reads a store whole, in use or not, and changes nothing."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from click.testing import CliRunner

from onex_grpc.cli.check import check
from onex_grpc.errors import ConfigurationError, StoreError
from onex_grpc.store import IdempotencyRecord, open_store
from tests.store.builders import change

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def filled(path: Path) -> None:
    store = await open_store(path)
    for number in range(200):
        await store.record_outcome(str(number), IdempotencyRecord(b"", bytes(2000)))
    await store.close()


def damage(path: Path) -> None:
    with open(path, "rb+") as file:
        # Beyond the roots of the tables, among the outcomes.
        file.seek(60 * 4096)
        file.write(b"\xff" * 8192)


async def test_whole_stores_are_told(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await filled(path)
    before = path.read_bytes()
    result = CliRunner().invoke(check, [str(path)])
    assert (result.exit_code, "whole" in result.output) == (0, True)
    assert path.read_bytes() == before


async def test_damage_is_told_with_its_place_and_the_remedy(tmp_path: Path) -> None:
    whole, path = tmp_path / "a.db", tmp_path / "b.db"
    await filled(whole)
    await filled(path)
    damage(path)
    result = CliRunner().invoke(check, [str(whole), f"sqlite:///{path}"])
    assert result.exit_code == 1
    assert "onex restore" in result.output
    assert "outcome: " in result.output
    report = json.loads(CliRunner().invoke(check, [str(path), "--json"]).stdout)
    assert report["whole"] is False
    (found,) = report["stores"]
    assert (found["path"], found["whole"], found["bytes"]) == (
        *(str(path), False),
        path.stat().st_size,
    )
    assert all(fault.startswith("outcome: ") for fault in found["faults"])


async def test_store_in_use_is_read_beside_its_node(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    store = await open_store(path)
    await store.commit(change(0))
    result = CliRunner().invoke(check, [str(path)])
    assert result.exit_code == 0
    await store.commit(change(1))
    await store.close()
    await (await open_store(path)).close()


async def test_store_that_was_left_open_is_read_with_its_log(tmp_path: Path) -> None:
    path, copy = tmp_path / "s.db", tmp_path / "left.db"
    store = await open_store(path)
    await store.commit(change(0))
    shutil.copy(path, copy)
    shutil.copy(f"{path}-wal", f"{copy}-wal")
    await store.close()
    assert CliRunner().invoke(check, [str(copy)]).exit_code == 0
    # The log was left, and with it what it says: that nobody has closed the store.
    store = await open_store(copy)
    assert (await store.get_state("workflow/w1")).version == 1
    await store.close()


async def test_stores_of_the_settings_are_read_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nothing = CliRunner().invoke(check, [])
    assert isinstance(nothing.exception, ConfigurationError)
    await filled(tmp_path / ".onex" / "a.db")
    await filled(tmp_path / ".onex" / "b.db")
    report = json.loads(CliRunner().invoke(check, ["--json"]).stdout)
    assert [each["path"] for each in report["stores"]] == [".onex/a.db", ".onex/b.db"]


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello, this is no database, whatever its name may say" * 100)
    for argument, why in (
        (str(tmp_path / "none.db"), "there is no store"),
        (str(text), "not an SQLite database"),
        ("postgresql://host/database", "pg_amcheck"),
    ):
        result = CliRunner().invoke(check, [argument])
        assert isinstance(result.exception, ConfigurationError | StoreError)
        assert why in str(result.exception)
