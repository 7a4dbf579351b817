"""What COMPUTE nodes do: look an algorithm up, check its input, run it."""

from onex_grpc.compute.algorithm import Algorithm, ComputeInput, ComputeResult
from onex_grpc.compute.execution import execute
from onex_grpc.compute.registry import AlgorithmRegistry

__all__ = ["Algorithm", "AlgorithmRegistry", "ComputeInput", "ComputeResult", "execute"]
