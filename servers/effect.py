"""The EFFECT node of the sample mesh; what it may do stands in its settings alone."""

from __future__ import annotations

from onex.v1 import node_pb2
from onex_grpc.node import NodeEffect
from onex_grpc.serve import serve


class OrderEffects(NodeEffect):
    """Reads the CSV file; writes orders, sends mail and publishes events as intents ask for it."""

    descriptor = node_pb2.NodeDescriptor(name="orders", version="1.0.0")


if __name__ == "__main__":
    serve(OrderEffects)
