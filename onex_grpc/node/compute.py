"""COMPUTE nodes: transform, validate and calculate, without side effects."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from onex.v1 import common_pb2, compute_pb2_grpc
from onex_grpc.compute.builtin import builtin_algorithms
from onex_grpc.compute.execution import execute, execute_stream
from onex_grpc.compute.registry import AlgorithmRegistry
from onex_grpc.node.base import Node, Service

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from onex.v1 import compute_pb2
    from onex_grpc.container import ModelONEXContainer


class NodeCompute(Node):
    """Base of the user's compute nodes.

    Its algorithms are the built-in ones (or those of the container's AlgorithmRegistry, where there
    is one) and those that `register_algorithms` adds.
    """

    kind = common_pb2.NODE_TYPE_COMPUTE

    def __init__(self, container: ModelONEXContainer) -> None:
        super().__init__(container)
        offered = container.has_service(AlgorithmRegistry)
        self.algorithms = (
            container.get_service(AlgorithmRegistry).copy() if offered else builtin_algorithms()
        )
        self.register_algorithms(self.algorithms)

    def register_algorithms(self, registry: AlgorithmRegistry) -> None:
        """Adds the node's own algorithms; called once, when the node is made."""

    async def execute_compute(
        self, contract: compute_pb2.ModelContractCompute
    ) -> compute_pb2.ModelComputeOutput:
        """Runs one calculation; may be overridden.

        Raises:
            AlgorithmNotFoundError: no such algorithm; names those that there are.
            ContractValidationError: the input lacks a field or has a wrong type.
        """
        return await execute(self.algorithms, contract)

    def execute_compute_stream(
        self, contracts: AsyncIterator[compute_pb2.ModelContractCompute]
    ) -> AsyncGenerator[compute_pb2.ModelComputeOutput, None]:
        """Runs one calculation over a stream of inputs, all for one algorithm; may be overridden.

        An algorithm without streams answers each input in turn. Raises as `execute_compute`, and
        ContractValidationError for an input for another algorithm than the first.
        """
        return execute_stream(self.algorithms, contracts)

    def services(self) -> Sequence[Service]:
        """ComputeNodeService."""
        return (
            Service.of(
                compute_pb2_grpc.add_ComputeNodeServiceServicer_to_server, _ComputeServicer(self)
            ),
        )

    def operations(self) -> Sequence[str]:
        """The names of the algorithms."""
        return self.algorithms.names


class _ComputeServicer(compute_pb2_grpc.ComputeNodeServiceServicer):
    def __init__(self, node: NodeCompute) -> None:
        self._node = node

    async def ExecuteCompute(
        self, request: compute_pb2.ModelContractCompute, context: object
    ) -> compute_pb2.ModelComputeOutput:
        return await self._node.execute_compute(request)

    async def ExecuteComputeStream(
        self, request_iterator: AsyncIterator[compute_pb2.ModelContractCompute], context: object
    ) -> AsyncIterator[compute_pb2.ModelComputeOutput]:
        async with aclosing(self._node.execute_compute_stream(request_iterator)) as outputs:
            async for output in outputs:
                yield output
