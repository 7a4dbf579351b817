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

_AMOUNT = re.compile(r"\d{1,12}\.\d{2}")
_ORDER_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


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
    fields = next(csv.reader([text]), [])
    if len(fields) != len(COLUMNS):
        raise RowError(f"{len(fields)} columns instead of {len(COLUMNS)} ({', '.join(COLUMNS)})")
    order_id, customer_id, order_date, quantity, amount = (field.strip() for field in fields)
    if not _ORDER_ID.fullmatch(order_id):
        raise RowError(f"order_id {order_id!r} is not 1 to 64 letters, digits or '-'")
    if not _ORDER_ID.fullmatch(customer_id):
        raise RowError(f"customer_id {customer_id!r} is not 1 to 64 letters, digits or '-'")
    try:
        date.fromisoformat(order_date)
    except ValueError:
        raise RowError(f"order_date {order_date!r} is not a date as YYYY-MM-DD") from None
    if not (quantity.isascii() and quantity.isdigit() and 0 < int(quantity) < 2**31):
        raise RowError(f"quantity {quantity!r} is not a whole number of at least 1")
    if not _AMOUNT.fullmatch(amount):
        raise RowError(f"amount_usd {amount!r} is not an amount with two decimals, e.g. 29.33")
    return OrderRow(order_id, customer_id, order_date, int(quantity), amount)


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
        text = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
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
    text = content.decode("utf-8", errors="replace").splitlines()
    header = tuple(next(csv.reader(text[:1]), []))
    if header != COLUMNS:
        raise ConfigurationError(
            f"CSV {path}: the first line must be {','.join(COLUMNS)!r}, not {','.join(header)!r}"
        )
    numbers = [number for number, line in enumerate(text, 1) if number > 1 and line.strip()]
    return OrdersFile(
        path=path.resolve(),
        lines=numbers if limit is None else numbers[:limit],
        fingerprint=hashlib.sha256(content).hexdigest()[:12],
    )
