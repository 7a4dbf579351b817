"""One calculation from its contract to its output."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from onex.v1 import compute_pb2
from onex_grpc.compute.algorithm import ComputeInput, ComputeResult
from onex_grpc.compute.validation import validate
from onex_grpc.contract.data import pack
from onex_grpc.errors import ContractValidationError, OnexError

if TYPE_CHECKING:
    from onex.v1 import common_pb2
    from onex_grpc.compute.registry import AlgorithmRegistry


async def execute(
    registry: AlgorithmRegistry, contract: compute_pb2.ModelContractCompute
) -> compute_pb2.ModelComputeOutput:
    """Runs the algorithm that a checked contract names.

    Raises:
        AlgorithmNotFoundError: names the algorithms that there are.
        ContractValidationError: for an input that its own validation or the algorithm refuses.
        OnexError: for an algorithm whose result is neither JSON nor a message.
    """
    config = contract.algorithm_config
    run = registry.find(config.algorithm_type)
    data = ComputeInput(contract.input_data, config.parameters)
    validate(data, contract.input_validation)
    started = time.perf_counter_ns()
    result = await run(data)
    took = time.perf_counter_ns() - started
    output = compute_pb2.ModelComputeOutput(
        correlation_id=contract.correlation_id,
        processed_data=_packed(result, config.algorithm_type),
    )
    metrics = output.performance_metrics
    metrics.execution_time.FromNanoseconds(took)
    metrics.data_size = output.processed_data.ByteSize()
    metrics.algorithm_type = config.algorithm_type
    return output


def _packed(result: ComputeResult, algorithm: str) -> common_pb2.Data:
    try:
        return pack(result)
    except ContractValidationError as error:
        # The caller's contract is in order: the fault lies with the algorithm.
        raise OnexError(
            f"the result of algorithm {algorithm!r} cannot be sent: {error.message}"
        ) from error
