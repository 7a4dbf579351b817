"""What is peculiar to the store in memory: it is nobody else's, and undoes what fails by itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from onex_grpc.store import Committed, open_store, wall_clock_us
from onex_grpc.store.clock import StoreClock
from onex_grpc.store.memory.transaction import MemoryRunner, Transaction
from onex_grpc.store.wakeups import Wakeups
from tests.store.builders import change

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_each_opened_one_is_a_store_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = await open_store("memory:"), await open_store("memory:")
    assert await first.commit(change(0)) == await second.commit(change(0)) == Committed(1)
    await first.close()
    assert await second.commit(change(1)) == Committed(2)
    await second.close()
    assert os.listdir(tmp_path) == []


def test_operation_that_fails_midway_leaves_the_tables_as_they_were() -> None:
    clock = StoreClock(wall_clock_us)
    runner = MemoryRunner(clock, Wakeups(clock))

    def writes(tx: Transaction) -> None:
        tx.put(tx.tables.secrets, "kept", b"1")
        tx.put(tx.tables.secrets, "changed", b"1")

    def breaks(tx: Transaction) -> None:
        tx.put(tx.tables.secrets, "changed", b"2")
        tx.put(tx.tables.secrets, "new", b"2")
        tx.remove(tx.tables.secrets, "kept")
        tx.remove(tx.tables.secrets, "new")
        raise ZeroDivisionError

    done, failed, after = runner.run([writes, breaks, lambda _: "after"])
    assert done.error is None
    assert after.value == "after"
    assert isinstance(failed.error, ZeroDivisionError)
    assert runner.read(lambda tables: dict(tables.secrets)) == {"kept": b"1", "changed": b"1"}
