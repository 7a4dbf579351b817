"""The ORCHESTRATOR node of the sample mesh: one order from its line in the file to SHIPPED."""

from onex_grpc.serve import serve
from onex_grpc.typed import WorkflowCall
from orders.v1.desk_pb2 import ReadLineRequest
from orders.v1.fulfilment_onex import FulfilmentMesh, FulfilmentOrchestrator
from orders.v1.fulfilment_pb2 import FulfilOrderRequest, FulfilOrderResponse
from orders.v1.order_service_pb2 import (
    ConfirmPaymentRequest,
    PlaceOrderRequest,
    ShipOrderRequest,
)
from orders.v1.pricing_pb2 import ParseLineRequest, PriceOrderRequest


class OrderFulfilment(FulfilmentOrchestrator):
    """Takes orders through the mesh.

    After a crash a workflow runs again from its beginning, and each call that has been answered
    before answers from the record.
    """

    async def fulfil_order(
        self, request: FulfilOrderRequest, mesh: FulfilmentMesh, workflow: WorkflowCall
    ) -> FulfilOrderResponse:
        """Reads, prices, places, pays and ships one order."""
        read = await mesh.desk.read_line(ReadLineRequest(file=request.file, line=request.line))
        parsed = await mesh.pricing.parse_line(ParseLineRequest(text=read.text))
        priced = await mesh.pricing.price_order(PriceOrderRequest(line=parsed.line))
        order_id = priced.order.line.order_id
        await mesh.order.place_order(PlaceOrderRequest(order_id=order_id, order=priced.order))
        await mesh.order.confirm_payment(ConfirmPaymentRequest(order_id=order_id))
        shipped = await mesh.order.ship_order(ShipOrderRequest(order_id=order_id))
        return FulfilOrderResponse(order=shipped.order)


if __name__ == "__main__":
    serve(OrderFulfilment)
