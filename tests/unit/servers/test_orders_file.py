"""The CSV file of orders: what is an order and what is not, and by which words a fault is named."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex_grpc.errors import ConfigurationError
from servers.demo import SAMPLE
from servers.orders_file import OrderRow, RowError, open_orders, parse_row

if TYPE_CHECKING:
    from decimal import Decimal
    from pathlib import Path

GOOD = "CD00001,0001,1997-01-01,2,29.33"
HEADER = "order_id,customer_id,order_date,quantity,amount_usd"


def test_the_real_file_has_its_published_sums() -> None:
    rows = open_orders(SAMPLE, None).rows().values()
    orders = [row for row in rows if isinstance(row, OrderRow)]
    assert len(orders) == len(rows) == 6919
    assert sum(order.amount_cents for order in orders) == 24_409_194
    assert sum(order.quantity for order in orders) == 16_479
    assert sum(order.amount_cents == 0 for order in orders) == 8


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        (0, "", "order_id"),
        (0, "CD 1", "order_id"),
        (1, "a@b", "customer_id"),
        (2, "1997-02-30", "order_date"),
        (2, "01/02/1997", "order_date"),
        (2, "19970101", "order_date"),
        (2, "1997-W01-1", "order_date"),
        (3, "0", "quantity"),
        (3, "1.5", "quantity"),
        (3, "٣", "quantity"),
        (3, "9" * 5000, "quantity"),
        (4, "29.3", "amount_usd"),
        (4, "-1.00", "amount_usd"),
        (4, "1e3", "amount_usd"),
        (4, "\u0661.00", "amount_usd"),
        (4, "9" * 13 + ".00", "amount_usd"),
    ],
)
def test_a_wrong_column_is_named(column: int, value: str, named: str) -> None:
    fields = GOOD.split(",")
    fields[column] = value
    with pytest.raises(RowError, match=named):
        parse_row(",".join(fields))


def test_a_missing_column_is_counted() -> None:
    with pytest.raises(RowError, match="4 columns instead of 5"):
        parse_row("CD00001,0001,1997-01-01,2")


@pytest.mark.parametrize("text", ["x" * 200_000, 'CD1,"1\r2"\r,', "", "\0", '"', "\r", ",,,,"])
def test_a_line_that_is_no_row_is_refused(text: str) -> None:
    with pytest.raises(RowError):
        parse_row(text)


@given(st.text())
def test_any_text_is_an_order_or_a_row_error(text: str) -> None:
    with contextlib.suppress(RowError):
        parse_row(text)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_windows_files_are_read(tmp_path: Path, ending: str, mark: str) -> None:
    file = tmp_path / "orders.csv"
    file.write_bytes(f"{mark}{HEADER}{ending}{GOOD}{ending}".encode())
    assert [type(row) for row in open_orders(file, None).rows().values()] == [OrderRow]


def test_only_line_feeds_end_lines_as_at_the_effect_node(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(f"{HEADER}\nCD\x0b1,1\u2028,\x851997-01-01\n{GOOD}\n", newline="")
    rows = open_orders(file, None).rows()
    assert list(rows) == [2, 3]
    assert isinstance(rows[3], OrderRow)


@given(st.decimals(min_value=0, max_value=10**11, places=2, allow_nan=False))
def test_cents_are_exact(amount: Decimal) -> None:
    assert parse_row(f"CD00001,0001,1997-01-01,2,{amount:.2f}").amount_cents == amount * 100


def test_a_repeated_order_names_the_first_line(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(f"{HEADER}\n{GOOD}\n{GOOD}\n")
    rows = open_orders(file, None).rows()
    assert isinstance(rows[2], OrderRow)
    assert str(rows[3]) == "order_id 'CD00001' is already that of line 2"


def test_a_limit_takes_the_first_orders() -> None:
    assert list(open_orders(SAMPLE, 2).rows()) == [2, 3]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", f"{HEADER},more\n"])
def test_other_columns_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="the first line must be"):
        open_orders(file, None)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no-such\.csv"):
        open_orders(tmp_path / "no-such.csv", None)
