"""Effects on a real SQLite file."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onex.v1 import effect_pb2, operation_pb2
from onex_grpc.contract.data import unpack_as
from onex_grpc.effect import SqliteTarget
from onex_grpc.effect.database_sql import sql_statements
from onex_grpc.errors import (
    AlreadyExistsError,
    ConfigurationError,
    ContractValidationError,
    DatabaseConnectionError,
    DeadlineExceededError,
    OperationRefusedError,
    TargetNotFoundError,
)
from tests.effects.making import (
    contract,
    database,
    executing,
    insert,
    row,
    select,
    sqlite_settings,
)

if TYPE_CHECKING:
    from pathlib import Path

    from onex_grpc.effect import EffectExecutor

Statement = operation_pb2.DatabaseStatement


def read(folder: Path, sql: str) -> list[tuple[object, ...]]:
    # Not sqlite3: two copies of SQLite in one process undo each other's locks.
    with closing(apsw.Connection(str(folder / "orders.db"))) as connection:
        return connection.execute(sql).fetchall()


def rows_of(output: effect_pb2.ModelEffectOutput, index: int = 0) -> list[operation_pb2.Row]:
    result = unpack_as(output.operation_result, operation_pb2.DatabaseResult)
    return list(result.results[index].rows)


async def test_values_come_back_as_they_went(executor: EffectExecutor) -> None:
    written = row(id="a", cents=2**63 - 1, note="ünïcode '\"; --", blob=b"\0\xff")
    write = Statement(insert=operation_pb2.DatabaseInsert(table="orders", row=written))
    await executor.execute(contract("orders_db", database(write)))
    output = await executor.execute(contract("orders_db", database(select("orders"))))
    assert rows_of(output) == [written]


async def test_null_is_stored_and_found(executor: EffectExecutor) -> None:
    await executor.execute(contract("orders_db", database(insert("orders", id="a", cents=None))))
    found = select("orders", "id", cents=None)
    output = await executor.execute(contract("orders_db", database(found)))
    assert rows_of(output) == [row(id="a")]


async def test_upsert_update_and_delete(executor: EffectExecutor, tmp_path: Path) -> None:
    upsert = operation_pb2.DatabaseUpsert(
        table="orders", row=row(id="a", cents=1), key_columns=["id"]
    )
    again = operation_pb2.DatabaseUpsert(
        table="orders", row=row(id="a", cents=2), key_columns=["id"]
    )
    update = operation_pb2.DatabaseUpdate(
        table="orders", row=row(note="changed"), where=row(id="a")
    )
    operation = database(
        Statement(upsert=upsert), Statement(upsert=again), Statement(update=update)
    )
    output = await executor.execute(contract("orders_db", operation))
    result = unpack_as(output.operation_result, operation_pb2.DatabaseResult)
    assert [entry.affected_rows for entry in result.results] == [1, 1, 1]
    assert read(tmp_path, "SELECT id, cents, note FROM orders") == [("a", 2, "changed")]
    delete = operation_pb2.DatabaseDelete(table="orders", where=row(id="a"))
    await executor.execute(contract("orders_db", database(Statement(delete=delete))))
    assert read(tmp_path, "SELECT count(*) FROM orders") == [(0,)]


async def test_all_statements_or_none(executor: EffectExecutor, tmp_path: Path) -> None:
    operation = database(insert("journal", id="a"), insert("journal", id="b", status="BAD"))
    with pytest.raises(ContractValidationError, match="CHECK"):
        await executor.execute(contract("orders_db", operation))
    assert read(tmp_path, "SELECT count(*) FROM journal") == [(0,)]


async def test_a_key_makes_it_happen_once(executor: EffectExecutor, tmp_path: Path) -> None:
    effect = contract("orders_db", database(insert("journal", id="a")), key="k1")
    first = await executor.execute(effect)
    again = await executor.execute(effect)
    assert not first.metadata.replayed
    assert again.metadata.replayed
    assert again.metadata.attempts == 0
    assert again.operation_result == first.operation_result
    assert read(tmp_path, "SELECT id FROM journal") == [("a",)]


async def test_a_key_outlives_the_process(tmp_path: Path) -> None:
    effect = contract("orders_db", database(insert("journal", id="a")), key="k1")
    for _ in range(2):
        async with executing(tmp_path, {"orders_db": sqlite_settings(tmp_path)}) as executor:
            await executor.execute(effect)
    assert read(tmp_path, "SELECT id FROM journal") == [("a",)]


async def test_the_same_key_at_the_same_time(executor: EffectExecutor, tmp_path: Path) -> None:
    effect = contract("orders_db", database(insert("journal", id="a")), key="k1")
    outputs = await asyncio.gather(*(executor.execute(effect) for _ in range(20)))
    assert sum(not output.metadata.replayed for output in outputs) == 1
    assert read(tmp_path, "SELECT id FROM journal") == [("a",)]


async def test_a_key_with_other_content_is_refused(executor: EffectExecutor) -> None:
    await executor.execute(contract("orders_db", database(insert("journal", id="a")), key="k1"))
    with pytest.raises(AlreadyExistsError, match="k1"):
        await executor.execute(contract("orders_db", database(insert("journal", id="b")), key="k1"))


async def test_a_failed_effect_leaves_its_key_free(
    executor: EffectExecutor, tmp_path: Path
) -> None:
    bad = contract("orders_db", database(insert("journal", id="a", status="BAD")), key="k1")
    with pytest.raises(ContractValidationError):
        await executor.execute(bad)
    await executor.execute(contract("orders_db", database(insert("journal", id="a")), key="k1"))
    assert read(tmp_path, "SELECT id FROM journal") == [("a",)]


async def test_an_existing_row_is_named(executor: EffectExecutor) -> None:
    effect = contract("orders_db", database(insert("orders", id="a")))
    await executor.execute(effect)
    with pytest.raises(AlreadyExistsError, match="orders_db"):
        await executor.execute(effect)


async def test_an_unknown_target_names_the_known(executor: EffectExecutor) -> None:
    with pytest.raises(TargetNotFoundError, match="files, mail, orders_db"):
        await executor.execute(contract("elsewhere", database(insert("orders", id="a"))))


@pytest.mark.parametrize(
    "statement",
    [
        insert("users", id="a"),
        insert("orders; DROP TABLE orders", id="a"),
        insert("onex_idempotency", key="a"),
        insert("orders", **{'id") VALUES (1) --': 1}),
        select("orders", "rowid"),
        select("orders", "id", secret="x"),
        select("sqlite_master"),
    ],
    ids=["table", "injection", "own", "column", "rowid", "where", "catalogue"],
)
async def test_what_is_not_allowed_is_refused(
    executor: EffectExecutor, statement: Statement
) -> None:
    with pytest.raises(OperationRefusedError, match="allow"):
        await executor.execute(contract("orders_db", database(statement)))


async def test_reading_can_be_forbidden(tmp_path: Path) -> None:
    base = sqlite_settings(tmp_path)
    write_only = SqliteTarget(
        path=base.path, schema=base.schema, tables=base.tables, allow=frozenset({"write"})
    )
    async with executing(tmp_path, {"db": write_only}) as executor:
        with pytest.raises(OperationRefusedError, match="read"):
            await executor.execute(contract("db", database(select("orders"))))
    read_only = SqliteTarget(
        path=base.path, schema=base.schema, tables=base.tables, allow=frozenset({"read"})
    )
    async with executing(tmp_path, {"db": read_only}) as executor:
        with pytest.raises(OperationRefusedError, match="write"):
            await executor.execute(contract("db", database(insert("orders", id="a"))))


async def test_an_operation_of_another_kind_is_refused(executor: EffectExecutor) -> None:
    operation = operation_pb2.EffectOperation(
        file=operation_pb2.FileOperation(path="a", delete=operation_pb2.FileDelete())
    )
    with pytest.raises(OperationRefusedError, match="carries out database operations, not file"):
        await executor.execute(contract("orders_db", operation))


async def test_nan_is_refused(executor: EffectExecutor) -> None:
    bad = Statement(
        insert=operation_pb2.DatabaseInsert(table="orders", row=row(id="a", cents=float("nan")))
    )
    with pytest.raises(ContractValidationError, match="NaN"):
        await executor.execute(contract("orders_db", database(bad)))


async def test_a_locked_database_is_tried_again(
    executor: EffectExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(apsw.Connection(str(tmp_path / "orders.db"))) as other:
        other.execute("BEGIN IMMEDIATE")
        effect = contract("orders_db", database(insert("journal", id="a")), key="k")
        with pytest.raises(DatabaseConnectionError, match="orders_db"):
            await executor.execute(effect)
        other.execute("ROLLBACK")
    output = await executor.execute(effect)
    assert output.metadata.attempts == 1
    assert read(tmp_path, "SELECT id FROM journal") == [("a",)]


async def test_wrong_settings_are_named(tmp_path: Path) -> None:
    base = sqlite_settings(tmp_path)
    for tables, named in (({"orders": ["prize"]}, "prize"), ({"nowhere": ["id"]}, "nowhere")):
        wrong = SqliteTarget(path=base.path, schema=base.schema, tables=tables)
        with pytest.raises(ConfigurationError, match=named):
            async with executing(tmp_path, {"db": wrong}):
                pass
    with pytest.raises(ConfigurationError, match="same path"):
        async with executing(tmp_path, {"a": base, "b": base}):
            pass


@settings(max_examples=200)
@given(name=st.text(max_size=20), value=st.text(max_size=20))
def test_no_identifier_reaches_sql_unlisted(name: str, value: str) -> None:
    allowed = {"orders": frozenset({"id"})}
    statement = Statement(
        insert=operation_pb2.DatabaseInsert(table="orders", row=row(**{name: value}))
    )
    operation = operation_pb2.DatabaseOperation(statements=[statement])
    if name == "id":
        assert sql_statements(operation, allowed)[0].values == (value,)
    else:
        with pytest.raises(OperationRefusedError):
            sql_statements(operation, allowed)


async def test_what_is_said_not_to_be_done_is_not_done_later(
    executor: EffectExecutor, tmp_path: Path
) -> None:
    write = database(insert("journal", id="late", status="X"))
    with closing(apsw.Connection(str(tmp_path / "orders.db"))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DeadlineExceededError, match="harmless"):
            await executor.execute(contract("orders_db", write, timeout=0.05))
        other.execute("ROLLBACK")
    await executor.execute(contract("orders_db", database(insert("journal", id="next"))))
    assert read(tmp_path, "SELECT id FROM journal") == [("next",)]
