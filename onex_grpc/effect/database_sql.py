"""Database operations as SQL: identifiers only from the allow-list, values only bound."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from onex.v1 import common_pb2, operation_pb2
from onex_grpc.errors import ContractValidationError, OperationRefusedError, Violation

SqlValue = None | int | float | str | bytes
Allowed = Mapping[str, frozenset[str]]

_DEFAULT_LIMIT = 1000
_WRITES = ("insert", "upsert", "update", "delete")


@dataclass(frozen=True, slots=True)
class SqlStatement:
    """One statement and its values in order; `columns` are those that a select returns."""

    text: str
    values: tuple[SqlValue, ...]
    columns: tuple[str, ...] = ()


def sql_statements(
    operation: operation_pb2.DatabaseOperation, tables: Allowed
) -> list[SqlStatement]:
    """The statements of an operation.

    Raises:
        OperationRefusedError: for a table or column that the target does not allow.
        ContractValidationError: for a statement that says nothing, or a value without a SQL form.
    """
    return [_statement(s, tables, f"statements[{i}]") for i, s in enumerate(operation.statements)]


def statement_kinds(operation: operation_pb2.DatabaseOperation) -> set[str]:
    """Which of insert, upsert, update, delete and select occur in an operation."""
    return {str(s.WhichOneof("statement")) for s in operation.statements}


def writes(kinds: set[str]) -> bool:
    """Whether any of these kinds of statement changes the database."""
    return not kinds.isdisjoint(_WRITES)


def _statement(
    statement: operation_pb2.DatabaseStatement, tables: Allowed, path: str
) -> SqlStatement:
    match statement.WhichOneof("statement"):
        case "insert":
            return _insert(statement.insert, tables, f"{path}.insert")
        case "upsert":
            return _upsert(statement.upsert, tables, f"{path}.upsert")
        case "update":
            return _update(statement.update, tables, f"{path}.update")
        case "delete":
            return _delete(statement.delete, tables, f"{path}.delete")
        case "select":
            return _select(statement.select, tables, f"{path}.select")
        case _:
            raise _invalid(path, "set one of insert, upsert, update, delete and select")


def _insert(insert: operation_pb2.DatabaseInsert, tables: Allowed, path: str) -> SqlStatement:
    table, columns = _table(insert.table, tables)
    row = _row(insert.row, columns, insert.table, f"{path}.row")
    return SqlStatement(_insert_text(table, row), tuple(row.values()))


def _upsert(upsert: operation_pb2.DatabaseUpsert, tables: Allowed, path: str) -> SqlStatement:
    table, columns = _table(upsert.table, tables)
    row = _row(upsert.row, columns, upsert.table, f"{path}.row")
    missing = [key for key in upsert.key_columns if key not in row]
    if missing or not upsert.key_columns:
        raise _invalid(f"{path}.key_columns", f"name columns of the row, got {missing or 'none'}")
    keys = ", ".join(_quoted(key) for key in upsert.key_columns)
    changes = [
        f"{_quoted(name)} = excluded.{_quoted(name)}"
        for name in row
        if name not in upsert.key_columns
    ]
    action = f"UPDATE SET {', '.join(changes)}" if changes else "NOTHING"
    text = f"{_insert_text(table, row)} ON CONFLICT ({keys}) DO {action}"
    return SqlStatement(text, tuple(row.values()))


def _update(update: operation_pb2.DatabaseUpdate, tables: Allowed, path: str) -> SqlStatement:
    table, columns = _table(update.table, tables)
    row = _row(update.row, columns, update.table, f"{path}.row")
    where = _row(update.where, columns, update.table, f"{path}.where")
    changes = ", ".join(f"{_quoted(name)} = ?" for name in row)
    text = f"UPDATE {table} SET {changes}{_where_text(where)}"  # noqa: S608 - identifiers are from the allow-list
    return SqlStatement(text, (*row.values(), *where.values()))


def _delete(delete: operation_pb2.DatabaseDelete, tables: Allowed, path: str) -> SqlStatement:
    table, columns = _table(delete.table, tables)
    where = _row(delete.where, columns, delete.table, f"{path}.where")
    text = f"DELETE FROM {table}{_where_text(where)}"  # noqa: S608 - identifiers are from the allow-list
    return SqlStatement(text, tuple(where.values()))


def _select(select: operation_pb2.DatabaseSelect, tables: Allowed, path: str) -> SqlStatement:
    table, columns = _table(select.table, tables)
    wanted = list(select.columns) or sorted(columns)
    _refuse_unknown(wanted, columns, select.table)
    where = _values(select.where, columns, select.table, f"{path}.where")
    names = ", ".join(_quoted(name) for name in wanted)
    text = f"SELECT {names} FROM {table}{_where_text(where)} LIMIT ?"  # noqa: S608 - identifiers are from the allow-list
    limit = select.limit or _DEFAULT_LIMIT
    return SqlStatement(text, (*where.values(), limit), tuple(wanted))


def _insert_text(table: str, row: Mapping[str, SqlValue]) -> str:
    names = ", ".join(_quoted(name) for name in row)
    marks = ", ".join("?" * len(row))
    return f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - identifiers are from the allow-list


def _where_text(where: Mapping[str, SqlValue]) -> str:
    # IS, not =, so that a NULL is found where a NULL is asked for.
    conditions = " AND ".join(f"{_quoted(name)} IS ?" for name in where)
    return f" WHERE {conditions}" if conditions else ""


def _table(name: str, tables: Allowed) -> tuple[str, frozenset[str]]:
    columns = tables.get(name)
    if columns is None:
        raise OperationRefusedError(
            f"table {name!r} is not allowed; the target allows {', '.join(sorted(tables))}",
            context={"table": name},
        )
    return _quoted(name), columns


def _row(
    row: operation_pb2.Row, allowed: frozenset[str], table: str, path: str
) -> dict[str, SqlValue]:
    if not row.columns:
        raise _invalid(f"{path}.columns", "give at least one column")
    return _values(row, allowed, table, path)


def _values(
    row: operation_pb2.Row, allowed: frozenset[str], table: str, path: str
) -> dict[str, SqlValue]:
    _refuse_unknown(row.columns, allowed, table)
    # Sorted, so that the same columns give the same text and the prepared statement is found again.
    return {name: sql_value(row.columns[name], path) for name in sorted(row.columns)}


def _refuse_unknown(names: Iterable[str], allowed: frozenset[str], table: str) -> None:
    unknown = sorted(set(names) - allowed)
    if unknown:
        raise OperationRefusedError(
            f"columns {unknown} of table {table!r} are not allowed; "
            f"the target allows {', '.join(sorted(allowed))}",
            context={"table": table, "columns": ",".join(unknown)},
        )


def sql_value(scalar: common_pb2.Scalar, path: str) -> SqlValue:
    """A scalar as SQLite takes it.

    Raises:
        ContractValidationError: for NaN, which SQLite would turn into NULL.
    """
    match scalar.WhichOneof("kind"):
        case "bool_value":
            return int(scalar.bool_value)
        case "int64_value":
            return scalar.int64_value
        case "double_value":
            if math.isnan(scalar.double_value):
                raise _invalid(path, "NaN cannot be stored; send no kind for NULL")
            return scalar.double_value
        case "string_value":
            return scalar.string_value
        case "bytes_value":
            return scalar.bytes_value
        case _:
            return None


def result_row(columns: Sequence[str], values: Sequence[SqlValue]) -> operation_pb2.Row:
    """A row that a select returned."""
    row = operation_pb2.Row()
    for name, value in zip(columns, values, strict=True):
        scalar = row.columns[name]
        if isinstance(value, int):
            scalar.int64_value = value
        elif isinstance(value, float):
            scalar.double_value = value
        elif isinstance(value, str):
            scalar.string_value = value
        elif isinstance(value, bytes):
            scalar.bytes_value = value
    return row


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _invalid(path: str, description: str) -> ContractValidationError:
    return ContractValidationError.of(Violation(f"operation.database.{path}", description))
