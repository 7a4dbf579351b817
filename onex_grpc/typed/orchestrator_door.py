"""The typed door of an orchestrator: each request is one workflow."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeAlias

from onex.v1 import common_pb2, orchestrator_pb2
from onex_grpc.contract.data import unpack_as
from onex_grpc.contract.rules.common import WORKFLOW_ID
from onex_grpc.errors import ContractValidationError, Violation
from onex_grpc.typed.empty import empty_stream
from onex_grpc.typed.key import key_of
from onex_grpc.workflow.output import refuse_cancelled

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from onex_grpc.rpc.calls import Handler
    from onex_grpc.typed.constraints import Constraints
    from onex_grpc.typed.contract import Rpc

_Contract: TypeAlias = orchestrator_pb2.ModelContractOrchestrator
_Execute: TypeAlias = Callable[[_Contract], Awaitable[orchestrator_pb2.ModelOrchestratorOutput]]
_Follow: TypeAlias = Callable[[_Contract], AsyncGenerator[common_pb2.Data, None]]


class OrchestratorDoor:
    """Carries out the calls of an orchestrator's own service.

    Args:
        execute: runs a workflow to its end, or joins it.
        follow: gives the responses of a workflow as they become durable.
        key: path of the field of every request that names the workflow.
        constraints: checks the requests.
    """

    def __init__(
        self, execute: _Execute, follow: _Follow, key: str, constraints: Constraints
    ) -> None:
        self._execute = execute
        self._follow = follow
        self._key = key
        self._constraints = constraints

    def handler(self, rpc: Rpc[Message, Message]) -> Handler:
        """What answers the calls of an rpc, whichever of both sides is a stream."""

        async def unary(request: Message, context: object) -> Message:
            return await self._answer(rpc, request)

        async def client_stream(requests: AsyncIterator[Message], context: object) -> Message:
            last: Message | None = None
            async for request in requests:
                last = await self._answer(rpc, request)
            if last is None:
                raise empty_stream(rpc)
            return last

        async def server_stream(request: Message, context: object) -> AsyncIterator[Message]:
            async with aclosing(self._answers(rpc, request)) as responses:
                async for response in responses:
                    yield response

        async def bidi(requests: AsyncIterator[Message], context: object) -> AsyncIterator[Message]:
            empty = True
            async for request in requests:
                empty = False
                async with aclosing(self._answers(rpc, request)) as responses:
                    async for response in responses:
                        yield response
            if empty:
                raise empty_stream(rpc)

        if rpc.response_streaming:
            return bidi if rpc.request_streaming else server_stream
        return client_stream if rpc.request_streaming else unary

    async def _answer(self, rpc: Rpc[Message, Message], request: Message) -> Message:
        output = await self._execute(self._contract(request))
        refuse_cancelled(output)
        return unpack_as(output.orchestration_result.responses[0], rpc.response)

    async def _answers(
        self, rpc: Rpc[Message, Message], request: Message
    ) -> AsyncGenerator[Message, None]:
        async with aclosing(self._follow(self._contract(request))) as responses:
            async for response in responses:
                yield unpack_as(response, rpc.response)

    def _contract(self, request: Message) -> _Contract:
        workflow_id = key_of(request, self._key)
        if not re.fullmatch(WORKFLOW_ID, workflow_id):
            raise ContractValidationError.of(
                Violation(self._key, f"names the workflow and must match {WORKFLOW_ID}")
            )
        self._constraints.check(request)
        contract = _Contract(workflow_id=workflow_id)
        contract.initial_state.message.Pack(request, deterministic=True)
        return contract
