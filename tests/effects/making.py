"""What the tests of effects ask for, and an executor over real targets."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from onex.v1 import common_pb2, effect_pb2, operation_pb2
from onex_grpc.effect import (
    CustomOperations,
    EffectExecutor,
    EffectTargets,
    FilesTarget,
    MaildirTarget,
    MailTemplate,
    SqliteTarget,
    TargetSettings,
)
from onex_grpc.rpc import Mesh
from onex_grpc.store.opening import open_store
from onex_grpc.telemetry import NO_TELEMETRY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from onex_grpc.store.protocol import Store

CORRELATION = "7f3c1c9e-2a8e-4a55-9d3c-0a8f6f8d2b11"
SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, cents INTEGER, note TEXT, blob BLOB);
CREATE TABLE IF NOT EXISTS journal (id TEXT NOT NULL, status TEXT CHECK (status <> 'BAD'));
"""


def scalar(value: str | int | float | bytes | bool | None) -> common_pb2.Scalar:
    """A scalar of a Python value."""
    match value:
        case bool():
            return common_pb2.Scalar(bool_value=value)
        case int():
            return common_pb2.Scalar(int64_value=value)
        case float():
            return common_pb2.Scalar(double_value=value)
        case str():
            return common_pb2.Scalar(string_value=value)
        case bytes():
            return common_pb2.Scalar(bytes_value=value)
        case _:
            return common_pb2.Scalar()


def row(**columns: str | int | float | bytes | bool | None) -> operation_pb2.Row:
    """A row of these columns."""
    return operation_pb2.Row(columns={name: scalar(value) for name, value in columns.items()})


def database(*statements: operation_pb2.DatabaseStatement) -> operation_pb2.EffectOperation:
    """A database operation of these statements."""
    return operation_pb2.EffectOperation(
        database=operation_pb2.DatabaseOperation(statements=statements)
    )


def insert(table: str, **columns: str | int | None) -> operation_pb2.DatabaseStatement:
    """An insert."""
    return operation_pb2.DatabaseStatement(
        insert=operation_pb2.DatabaseInsert(table=table, row=row(**columns))
    )


def select(table: str, *columns: str, **where: str | int | None) -> operation_pb2.DatabaseStatement:
    """A select."""
    return operation_pb2.DatabaseStatement(
        select=operation_pb2.DatabaseSelect(table=table, columns=columns, where=row(**where))
    )


def contract(
    target: str,
    operation: operation_pb2.EffectOperation,
    key: str = "",
    retries: int = 0,
    timeout: float | None = None,
) -> effect_pb2.ModelContractEffect:
    """A contract for one effect, with repeats that do not wait long."""
    policy = common_pb2.RetryPolicy(max_retries=retries)
    policy.initial_backoff.FromMilliseconds(1)
    built = effect_pb2.ModelContractEffect(
        correlation_id=CORRELATION,
        external_service_config=effect_pb2.ExternalServiceConfig(service_name=target),
        io_operation_config=effect_pb2.IoOperationConfig(operation=operation, idempotency_key=key),
        retry_config=policy,
    )
    if timeout is not None:
        built.external_service_config.timeout.FromNanoseconds(round(timeout * 1e9))
    return built


def sqlite_settings(folder: Path) -> SqliteTarget:
    """The settings of a database with two tables."""
    schema = folder / "schema.sql"
    schema.write_text(SCHEMA, encoding="utf-8")
    return SqliteTarget(
        path=str(folder / "orders.db"),
        schema=str(schema),
        tables={"orders": ["id", "cents", "note", "blob"], "journal": ["id", "status"]},
    )


def maildir_settings(folder: Path) -> MaildirTarget:
    """The settings of a Maildir with one template."""
    return MaildirTarget(
        path=str(folder / "mail"),
        sender="shop@example.invalid",
        recipients=r".*@example\.invalid",
        templates={
            "placed": MailTemplate(subject="Order $id placed", body="$name, it is ${cents}$$.\n")
        },
    )


def files_settings(folder: Path) -> FilesTarget:
    """The settings of a folder in which everything is allowed."""
    return FilesTarget(
        root=str(folder / "files"), allow=frozenset({"read", "write", "delete"}), max_bytes=1000
    )


@asynccontextmanager
async def executing(
    folder: Path,
    targets: dict[str, TargetSettings],
    operations: CustomOperations | None = None,
    mesh: Mesh | None = None,
) -> AsyncIterator[EffectExecutor]:
    """An executor over open targets and a store of its own."""
    custom = operations or CustomOperations()
    store: Store = await open_store(folder / "effect.db")
    opened = EffectTargets(targets, mesh or Mesh({}), custom)
    try:
        await opened.open()
        yield EffectExecutor(opened, custom, store, NO_TELEMETRY)
    finally:
        await opened.close()
        await store.close()
