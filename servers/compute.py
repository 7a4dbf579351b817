"""The COMPUTE node of the sample mesh: from the text of a line to a priced order."""

from onex_grpc.compute import AlgorithmRegistry
from onex_grpc.errors import ContractValidationError, Violation
from onex_grpc.serve import serve
from orders.v1.orders_pb2 import OrderLine, PricedOrder
from orders.v1.pricing_onex import PricingCompute
from orders.v1.pricing_pb2 import (
    ParseLineRequest,
    ParseLineResponse,
    PriceOrderRequest,
    PriceOrderResponse,
)
from servers.orders_file import RowError, check_row, parse_row
from servers.waiting import wait


class OrderPricing(PricingCompute):
    """Parses, validates and prices orders, besides the built-in algorithms."""

    def parse_line(self, request: ParseLineRequest) -> ParseLineResponse:
        """The purchase that a line tells."""
        try:
            row = parse_row(request.text)
        except RowError as fault:
            raise _invalid("text", fault) from None
        line = OrderLine(
            order_id=row.order_id,
            customer_id=row.customer_id,
            order_date=row.order_date,
            quantity=row.quantity,
            amount_usd=row.amount_usd,
        )
        return ParseLineResponse(line=line)

    def price_order(self, request: PriceOrderRequest) -> PriceOrderResponse:
        """The purchase with its total in cents."""
        line = request.line
        try:
            row = check_row(
                line.order_id,
                line.customer_id,
                line.order_date,
                str(line.quantity),
                line.amount_usd,
            )
        except RowError as fault:
            raise _invalid("line", fault) from None
        return PriceOrderResponse(order=PricedOrder(line=line, amount_cents=row.amount_cents))

    def register_algorithms(self, registry: AlgorithmRegistry) -> None:
        """Adds `demo.wait`, which only the generic door offers."""
        registry.register("demo.wait", wait)


def _invalid(field: str, fault: RowError) -> ContractValidationError:
    return ContractValidationError.of(Violation(field, str(fault)))


if __name__ == "__main__":
    serve(OrderPricing)
