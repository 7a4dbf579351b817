"""The ORCHESTRATOR node of the sample mesh: it runs what contracts say, under a lease for each."""

from __future__ import annotations

from onex.v1 import node_pb2
from onex_grpc.node import NodeOrchestrator
from onex_grpc.serve import serve
from orders.v1 import orders_pb2


class OrderOrchestrator(NodeOrchestrator):
    """Takes orders from a line of a file to SHIPPED."""

    descriptor = node_pb2.NodeDescriptor(
        name="orders", version="1.0.0", depends_on=["effect", "compute", "reducer"]
    )


# Bindings read the fields of these messages, which only an import makes known.
MESSAGES = (orders_pb2.OrderLine, orders_pb2.PricedOrder, orders_pb2.Order)


if __name__ == "__main__":
    serve(OrderOrchestrator)
