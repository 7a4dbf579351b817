"""The nodes of the workflow benchmark, which do as little as a node can."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from google.protobuf.wrappers_pb2 import Int64Value

from onex.v1 import node_pb2
from onex_grpc.node import NodeCompute, NodeEffect, NodeOrchestrator, NodeReducer
from onex_grpc.reducer import ReducerAction, Reduction
from onex_grpc.serve import serve

if TYPE_CHECKING:
    from onex.v1 import common_pb2
    from onex_grpc.compute import AlgorithmRegistry, ComputeInput


class BenchEffect(NodeEffect):
    """Takes the reducer's intents, of which there are none."""

    descriptor = node_pb2.NodeDescriptor(name="bench", version="1.0.0")


class BenchCompute(NodeCompute):
    """Returns its input."""

    descriptor = node_pb2.NodeDescriptor(name="bench", version="1.0.0")

    def register_algorithms(self, registry: AlgorithmRegistry) -> None:
        """Adds `echo`."""
        registry.register("echo", echo)


def echo(data: ComputeInput) -> common_pb2.Data:
    """The input as it came."""
    return data.data


class BenchReducer(NodeReducer[Int64Value]):
    """Counts its actions."""

    descriptor = node_pb2.NodeDescriptor(name="bench", version="1.0.0")
    state_type = Int64Value

    def transition(self, state: Int64Value, action: ReducerAction) -> Reduction[Int64Value]:
        """One more."""
        return Reduction(Int64Value(value=state.value + 1))


class BenchOrchestrator(NodeOrchestrator):
    """Runs the workflows."""

    descriptor = node_pb2.NodeDescriptor(name="bench", version="1.0.0")


NODES = {
    "effect": BenchEffect,
    "compute": BenchCompute,
    "reducer": BenchReducer,
    "orchestrator": BenchOrchestrator,
}


if __name__ == "__main__":
    kind = sys.argv.pop(1)
    serve(NODES[kind])
