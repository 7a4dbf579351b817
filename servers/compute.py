"""The COMPUTE node of the sample mesh: from the text of a line to a priced order."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from onex.v1 import node_pb2
from onex_grpc.node import NodeCompute
from onex_grpc.serve import serve
from orders.v1 import orders_pb2
from servers.orders_file import RowError, check_row, parse_row

if TYPE_CHECKING:
    from onex_grpc.compute import AlgorithmRegistry, ComputeInput

_log = logging.getLogger(__name__)


class OrderCompute(NodeCompute):
    """Parses, validates and prices orders, besides the built-in algorithms."""

    descriptor = node_pb2.NodeDescriptor(name="orders", version="1.0.0")

    def register_algorithms(self, registry: AlgorithmRegistry) -> None:
        """Adds `orders.parse`, `orders.price` and `demo.wait`."""
        registry.register("orders.parse", parse)
        registry.register("orders.price", price)
        registry.register("demo.wait", wait)


def parse(data: ComputeInput) -> orders_pb2.OrderLine:
    """The text of a line as an OrderLine; a line that is no order is an invalid input."""
    text = data.value()
    if not isinstance(text, str):
        raise data.invalid("is not the text of a line")
    try:
        row = parse_row(text)
    except RowError as fault:
        raise data.invalid(str(fault)) from None
    return orders_pb2.OrderLine(
        order_id=row.order_id,
        customer_id=row.customer_id,
        order_date=row.order_date,
        quantity=row.quantity,
        amount_usd=row.amount_usd,
    )


def price(data: ComputeInput) -> orders_pb2.PricedOrder:
    """An OrderLine with its total in cents; the file knows no unit price, so none is made up."""
    line = data.message(orders_pb2.OrderLine)
    try:
        row = check_row(
            line.order_id, line.customer_id, line.order_date, str(line.quantity), line.amount_usd
        )
    except RowError as fault:
        raise data.invalid(str(fault)) from None
    return orders_pb2.PricedOrder(line=line, amount_cents=row.amount_cents)


async def wait(data: ComputeInput) -> float:
    """Waits `seconds` (0 to 60), to see that a deadline reaches the one who works."""
    seconds = data.parameters.get("seconds")
    if not isinstance(seconds, int | float) or not 0 <= seconds <= 60:
        raise data.invalid("must be a number from 0 to 60", "algorithm_config.parameters.seconds")
    began = time.monotonic()
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        _log.info("demo.wait cancelled", extra={"after_s": round(time.monotonic() - began, 3)})
        raise
    return time.monotonic() - began


if __name__ == "__main__":
    serve(OrderCompute)
