"""The generic door to operations with streams: what the contracts of one stream must agree on."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from onex.v1 import effect_pb2
from onex_grpc.contract import data
from onex_grpc.effect.operation import CUSTOM
from onex_grpc.effect.streams import StreamOrder
from onex_grpc.errors import ContractValidationError, Violation

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from google.protobuf.message import Message

    from onex_grpc.effect.custom_target import CustomOperations
    from onex_grpc.effect.streams import EffectStreams

    Contracts = AsyncIterator[effect_pb2.ModelContractEffect]
    Outputs = AsyncGenerator[effect_pb2.ModelEffectOutput, None]
    Execute = Callable[[effect_pb2.ModelContractEffect], Awaitable[effect_pb2.ModelEffectOutput]]

_OPERATION = "io_operation_config.operation"


class StreamDoor:
    """Carries out streams of contracts.

    Args:
        operations: the node's own operations.
        streams: carries out those with streams.
        execute: carries out one of the others, each request of a stream in turn.
    """

    def __init__(
        self, operations: CustomOperations, streams: EffectStreams, execute: Execute
    ) -> None:
        self._operations = operations
        self._streams = streams
        self._execute = execute

    async def run(self, contracts: Contracts) -> Outputs:
        """The results of one operation over a stream of contracts.

        Raises:
            ContractValidationError: for no contract at all, an operation that is not of the user's
                own, a contract for another one than the first's.
            OperationRefusedError: for messages that the node has no operation for.
        """
        first = await anext(contracts, None)
        if first is None:
            raise _refused(_OPERATION, "is missing: no request came")
        _check(first, first)
        order = _order(first)
        if not self._operations.has_stream(order.message_type):
            yield await self._execute(first)
            async for contract in contracts:
                _check(contract, first)
                yield await self._execute(contract)
            return
        started = time.monotonic()
        async with aclosing(self._streams.run(order, _messages(first, contracts))) as results:
            async for result in results:
                yield _output(order, result, time.monotonic() - started)


def _output(
    order: StreamOrder, result: Message | data.JSON, seconds: float
) -> effect_pb2.ModelEffectOutput:
    output = effect_pb2.ModelEffectOutput(
        correlation_id=order.correlation_id,
        operation_result=data.pack(result),
        metadata=effect_pb2.EffectMetadata(target=order.target, attempts=1),
    )
    output.metadata.execution_time.FromNanoseconds(round(seconds * 1e9))
    return output


async def _messages(
    first: effect_pb2.ModelContractEffect, others: Contracts
) -> AsyncGenerator[Message, None]:
    _check_plain(first)
    yield data.unpack_any(first.io_operation_config.operation.custom, CUSTOM)
    async for contract in others:
        _check(contract, first)
        _check_plain(contract)
        yield data.unpack_any(contract.io_operation_config.operation.custom, CUSTOM)


def _order(contract: effect_pb2.ModelContractEffect) -> StreamOrder:
    service = contract.external_service_config
    return StreamOrder(
        contract.io_operation_config.operation.custom.TypeName(),
        service.service_name,
        contract.correlation_id,
        service.timeout.ToNanoseconds() / 1e9 if service.HasField("timeout") else None,
    )


def _check(contract: effect_pb2.ModelContractEffect, first: effect_pb2.ModelContractEffect) -> None:
    operation = contract.io_operation_config.operation
    if operation.WhichOneof("operation") != "custom":
        raise _refused(_OPERATION, "is not the user's own; call ExecuteEffect for it")
    given, wanted = _order(contract), _order(first)
    if given.message_type != wanted.message_type:
        raise _refused(
            f"{_OPERATION}.custom",
            f"is a {given.message_type}; all requests of a stream are of one type, here"
            f" {wanted.message_type}",
        )
    if given.target != wanted.target:
        raise _refused(
            "external_service_config.service_name",
            f"is {given.target!r}; all requests of a stream have one target, here"
            f" {wanted.target!r}",
        )


def _check_plain(contract: effect_pb2.ModelContractEffect) -> None:
    """An operation with a stream has no key, and is not repeated."""
    if contract.io_operation_config.idempotency_key:
        fault = "must be empty: an operation with a stream is not recorded"
        raise _refused("io_operation_config.idempotency_key", fault)
    if contract.retry_config.max_retries:
        fault = "must be 0: an operation with a stream is never repeated"
        raise _refused("retry_config.max_retries", fault)


def _refused(field: str, fault: str) -> ContractValidationError:
    return ContractValidationError.of(Violation(field, fault))
