"""One calculation from its contract to its output."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from onex.v1 import compute_pb2
from onex_grpc.compute.algorithm import ComputeInput, ComputeResult
from onex_grpc.compute.validation import validate
from onex_grpc.contract.data import pack
from onex_grpc.errors import ContractValidationError, OnexError, Violation

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

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
    data = _input(contract)
    started = time.perf_counter_ns()
    result = await run(data)
    return _output(contract, result, time.perf_counter_ns() - started)


async def execute_stream(
    registry: AlgorithmRegistry, contracts: AsyncIterator[compute_pb2.ModelContractCompute]
) -> AsyncGenerator[compute_pb2.ModelComputeOutput, None]:
    """Runs the algorithm that checked contracts name, all of them the same one.

    Raises:
        AlgorithmNotFoundError: names the algorithms that there are.
        ContractValidationError: for no contract at all, one that names another algorithm than the
            first, an input that its own validation or the algorithm refuses.
        OnexError: for an algorithm whose result is neither JSON nor a message.
    """
    first = await anext(contracts, None)
    if first is None:
        fault = Violation("algorithm_config", "is missing: no request came")
        raise ContractValidationError.of(fault)
    run = registry.find_stream(first.algorithm_config.algorithm_type)
    async with aclosing(run(_inputs(first, contracts))) as results:
        started = time.perf_counter_ns()
        async for result in results:
            yield _output(first, result, time.perf_counter_ns() - started)
            started = time.perf_counter_ns()


async def _inputs(
    first: compute_pb2.ModelContractCompute,
    others: AsyncIterator[compute_pb2.ModelContractCompute],
) -> AsyncGenerator[ComputeInput, None]:
    yield _input(first)
    wanted = first.algorithm_config.algorithm_type
    async for contract in others:
        named = contract.algorithm_config.algorithm_type
        if named != wanted:
            fault = f"is {named!r}; all requests of a stream name one algorithm, here {wanted!r}"
            raise ContractValidationError.of(Violation("algorithm_config.algorithm_type", fault))
        yield _input(contract)


def _input(contract: compute_pb2.ModelContractCompute) -> ComputeInput:
    data = ComputeInput(contract.input_data, contract.algorithm_config.parameters)
    validate(data, contract.input_validation)
    return data


def _output(
    contract: compute_pb2.ModelContractCompute, result: ComputeResult, took: int
) -> compute_pb2.ModelComputeOutput:
    algorithm = contract.algorithm_config.algorithm_type
    output = compute_pb2.ModelComputeOutput(
        correlation_id=contract.correlation_id, processed_data=_packed(result, algorithm)
    )
    metrics = output.performance_metrics
    metrics.execution_time.FromNanoseconds(took)
    metrics.data_size = output.processed_data.ByteSize()
    metrics.algorithm_type = algorithm
    return output


def _packed(result: ComputeResult, algorithm: str) -> common_pb2.Data:
    try:
        return pack(result)
    except ContractValidationError as error:
        # The caller's contract is in order: the fault lies with the algorithm.
        raise OnexError(
            f"the result of algorithm {algorithm!r} cannot be sent: {error.message}"
        ) from error
