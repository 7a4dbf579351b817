"""The typed door of effect nodes: calls of the contract's service as effects."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeAlias, cast

from onex.v1 import effect_pb2
from onex_grpc.context import current_call
from onex_grpc.contract import data
from onex_grpc.contract.canonical import canonical_bytes
from onex_grpc.effect.streams import StreamOrder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from google.protobuf.message import Message

    from onex_grpc.effect.streams import EffectStreams
    from onex_grpc.rpc.calls import Handler
    from onex_grpc.typed.constraints import Constraints
    from onex_grpc.typed.contract import Rpc

    AnyRpc = Rpc[Message, Message]

Execute: TypeAlias = (
    "Callable[[effect_pb2.ModelContractEffect], Awaitable[effect_pb2.ModelEffectOutput]]"
)


def effect_handler(
    rpc: AnyRpc, execute: Execute, streams: EffectStreams, constraints: Constraints
) -> Handler:
    """The handler of an rpc: what the generic door does with the same request, it does."""
    if not rpc.request_streaming and not rpc.response_streaming:
        return _unary(rpc, execute, constraints)
    order = StreamOrder(rpc.request.DESCRIPTOR.full_name)

    def responses(requests: AsyncIterator[Message]) -> AsyncGenerator[Message, None]:
        # What its methods give was checked to be messages.
        return cast("AsyncGenerator[Message, None]", streams.run(order, requests))

    if not rpc.request_streaming:
        return lambda request, _: responses(_alone(request))
    if rpc.response_streaming:
        return lambda requests, _: responses(requests)

    async def client_stream(requests: AsyncIterator[Message], _: object) -> Message:
        # To the end, which is noted: a stream that is left is one that was given up.
        (response,) = [each async for each in responses(requests)]
        return response

    return client_stream


async def _alone(request: Message) -> AsyncGenerator[Message, None]:
    yield request


def _unary(rpc: AnyRpc, execute: Execute, constraints: Constraints) -> Handler:
    async def unary(request: Message, _: object) -> Message:
        # Once more than needed, but with the paths of fields as this caller knows them.
        constraints.check(request)
        contract = effect_pb2.ModelContractEffect()
        config = contract.io_operation_config
        config.operation.custom.Pack(request, deterministic=True)
        config.idempotency_key = _key(request)
        output = await execute(contract)
        return data.unpack_as(output.operation_result, rpc.response)

    return unary


def _key(request: Message) -> str:
    """The action that the call executes; a node that calls on behalf of an action may do so several
    times, so its requests are told apart by what is in them.
    """
    call = current_call()
    if call is None or not call.action_id:
        return ""
    if not call.caller or call.caller.startswith("orchestrator/"):
        return call.action_id
    content = request.DESCRIPTOR.full_name.encode() + b"\0" + canonical_bytes(request)
    return f"{call.action_id}/{hashlib.sha256(content).hexdigest()}"
