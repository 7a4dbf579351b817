"""Generated EFFECT nodes: the outside world behind both doors, and behind intents."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from onex.v1 import common_pb2, effect_pb2, operation_pb2
from onex_grpc.contract import check, data
from onex_grpc.effect.custom_call import CustomCall as EffectCall
from onex_grpc.effect.operation import CUSTOM
from onex_grpc.node.effect import NodeEffect
from onex_grpc.typed.effect_door import effect_handler
from onex_grpc.typed.node import TypedNode
from onex_grpc.typed.operations import register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from onex_grpc.container import ModelONEXContainer
    from onex_grpc.rpc.calls import Handler
    from onex_grpc.typed.contract import Rpc

__all__ = ["EffectCall", "TypedEffect"]


class TypedEffect(TypedNode, NodeEffect):
    """Base of the generated effect nodes; the methods of its rpcs are the user's.

    Each rpc is an operation of the node's own, too, found by the type of its request, so that
    intents ask for it.
    """

    def __init__(self, container: ModelONEXContainer) -> None:
        super().__init__(container)
        self._rpcs: dict[str, Rpc[Message, Message]] = {}
        for rpc in self.contract.rpcs:
            register(self._custom, rpc, getattr(self, rpc.method), self._constraints)
            if not rpc.request_streaming and not rpc.response_streaming:
                self._rpcs[rpc.request.DESCRIPTOR.full_name] = rpc

    async def execute_effect(
        self, contract: effect_pb2.ModelContractEffect
    ) -> effect_pb2.ModelEffectOutput:
        """Carries out one effect; for an rpc, with timeout and repeats of its contract where the
        request has none. Raises as that of every effect node.
        """
        rpc = self._rpc_of(contract)
        if rpc is not None:
            if self.contract.constrained:
                packed = contract.io_operation_config.operation.custom
                self._constraints.check(data.unpack_any(packed, CUSTOM), CUSTOM)
            if rpc.retry is not None and not contract.HasField("retry_config"):
                contract.retry_config.CopyFrom(rpc.retry)
            service = contract.external_service_config
            if rpc.timeout is not None and not service.HasField("timeout"):
                service.timeout.FromNanoseconds(round(rpc.timeout * 1e9))
        return await super().execute_effect(contract)

    async def perform(
        self, call: EffectCall, target: str, operation: operation_pb2.EffectOperation
    ) -> common_pb2.Data:
        """Carries out an operation of the mesh's own at a target of the settings.

        Under the call's key: where the target keeps keys, or the node records it, a repeat of the
        call does it once. The operations of one call at one target are counted, so each has a key
        of its own; they are to come in the same order in a repeat.

        Raises:
            TargetNotFoundError: for a target that the settings lack.
            ContractValidationError: for an operation that cannot be carried out as it stands.
            OnexError: as an effect of the generic door.
        """
        number = call.performed[target] = call.performed.get(target, 0) + 1
        contract = effect_pb2.ModelContractEffect(
            correlation_id=call.correlation_id,
            external_service_config=effect_pb2.ExternalServiceConfig(service_name=target),
            io_operation_config=effect_pb2.IoOperationConfig(
                operation=operation, idempotency_key=_key(call.idempotency_key, number)
            ),
        )
        check(contract)
        output = await self._executor.execute(contract)
        return output.operation_result

    def _time_for_intent(self, contract: effect_pb2.ModelContractEffect) -> float:
        longest = super()._time_for_intent(contract)
        rpc = self._rpc_of(contract)
        return longest if rpc is None or rpc.timeout is None else min(longest, rpc.timeout)

    def _handlers(self) -> Mapping[str, Handler]:
        return {
            rpc.name: effect_handler(rpc, self.execute_effect, self._streams, self._constraints)
            for rpc in self.contract.rpcs
        }

    def _rpc_of(self, contract: effect_pb2.ModelContractEffect) -> Rpc[Message, Message] | None:
        operation = contract.io_operation_config.operation
        if operation.WhichOneof("operation") != "custom":
            return None
        return self._rpcs.get(operation.custom.TypeName())


def _key(key: str, number: int) -> str:
    if not key or number == 1:
        return key
    # Of the characters and the length that keys have everywhere, and nobody else's.
    return f"onex-{hashlib.sha256(f'{number} {key}'.encode()).hexdigest()}"
