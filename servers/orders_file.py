"""The CSV file of orders: its columns, and the rows that a run has to account for."""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from onex_grpc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COLUMNS = ("order_id", "customer_id", "order_date", "quantity", "amount_usd")

_AMOUNT = re.compile(r"[0-9]{1,12}\.[0-9]{2}")
_ORDER_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_QUANTITY = re.compile(r"[0-9]{1,10}")


class RowError(Exception):
    """Raised for a row that is no order; says which column is wrong and what it should be."""


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One valid row."""

    order_id: str
    customer_id: str
    order_date: str
    quantity: int
    amount_usd: str

    @property
    def amount_cents(self) -> int:
        """The order's total in cents."""
        return int(Decimal(self.amount_usd) * 100)


def parse_row(text: str) -> OrderRow:
    """One line of the file as an order.

    Raises:
        RowError: when a column is missing or wrong.
    """
    try:
        fields = next(csv.reader([text]), [])
    except csv.Error as fault:
        raise RowError(f"no line of a CSV file: {fault}") from None
    if len(fields) != len(COLUMNS):
        raise RowError(f"{len(fields)} columns instead of {len(COLUMNS)} ({', '.join(COLUMNS)})")
    return check_row(*(field.strip() for field in fields))


def check_row(
    order_id: str, customer_id: str, order_date: str, quantity: str, amount: str
) -> OrderRow:
    """The texts of five columns as an order.

    Raises:
        RowError: when a column is wrong.
    """
    if not _ORDER_ID.fullmatch(order_id):
        raise RowError(f"order_id {_cut(order_id)} is not 1 to 64 letters, digits or '-'")
    if not _ORDER_ID.fullmatch(customer_id):
        raise RowError(f"customer_id {_cut(customer_id)} is not 1 to 64 letters, digits or '-'")
    if not _is_date(order_date):
        raise RowError(f"order_date {_cut(order_date)} is not a date as YYYY-MM-DD")
    if not (_QUANTITY.fullmatch(quantity) and 0 < int(quantity) < 2**31):
        raise RowError(f"quantity {_cut(quantity)} is not a whole number from 1 to 2147483647")
    if not _AMOUNT.fullmatch(amount):
        raise RowError(f"amount_usd {_cut(amount)} is not an amount with two decimals, e.g. 29.33")
    return OrderRow(order_id, customer_id, order_date, int(quantity), amount)


def _is_date(text: str) -> bool:
    # Alone, fromisoformat also takes 19970101 and 1997-W01-1.
    if not _DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _cut(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _lines(content: bytes) -> list[str]:
    """The lines as the effect node counts them: each ends with LF or CRLF, and with nothing else
    that Unicode takes for a line break.
    """
    lines = content.decode("utf-8-sig", errors="replace").split("\n")
    return [line.removesuffix("\r") for line in lines]


@dataclass(frozen=True, slots=True)
class OrdersFile:
    """A file whose header is right; `lines` are the line numbers (from 1) of this run's orders.

    `fingerprint` names the content, so that the same order gets the same workflow in every run.
    """

    path: Path
    lines: Sequence[int]
    fingerprint: str

    def rows(self) -> dict[int, OrderRow | RowError]:
        """Every line of this run, parsed; the truth against which the mesh is audited."""
        text = _lines(self.path.read_bytes())
        parsed: dict[int, OrderRow | RowError] = {}
        first: dict[str, int] = {}
        for number in self.lines:
            try:
                row = parse_row(text[number - 1])
            except RowError as fault:
                parsed[number] = fault
                continue
            earlier = first.setdefault(row.order_id, number)
            known = RowError(f"order_id {row.order_id!r} is already that of line {earlier}")
            parsed[number] = row if earlier == number else known
        return parsed


def open_orders(path: Path, limit: int | None) -> OrdersFile:
    """A CSV file, its first `limit` orders (all where it is None).

    Raises:
        ConfigurationError: when the file cannot be read or has other columns.
    """
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise ConfigurationError(f"CSV {path}: {fault.strerror}; name a readable file") from None
    text = _lines(content)
    if text[0] != ",".join(COLUMNS):
        raise ConfigurationError(
            f"CSV {path}: the first line must be {','.join(COLUMNS)!r}, not {_cut(text[0])}"
        )
    numbers = [number for number, line in enumerate(text, 1) if number > 1 and line.strip()]
    return OrdersFile(
        path=path.resolve(),
        lines=numbers if limit is None else numbers[:limit],
        fingerprint=hashlib.sha256(content).hexdigest()[:12],
    )
