"""EFFECT nodes: the outside world, on request and as the intents of reducers ask for it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from onex.v1 import common_pb2, effect_pb2, effect_pb2_grpc, intent_pb2
from onex_grpc.context import current_call, enter_call
from onex_grpc.contract.route import MOST_ROUTES, custom_route
from onex_grpc.effect.custom_target import CustomOperations
from onex_grpc.effect.executor import EffectExecutor
from onex_grpc.effect.intents import (
    NO_REPEATS,
    effect_of,
    execute_by_priority,
    repeats_of,
)
from onex_grpc.effect.settings import EffectSettings
from onex_grpc.effect.stream_door import StreamDoor
from onex_grpc.effect.streams import EffectStreams
from onex_grpc.effect.targets import EffectTargets
from onex_grpc.errors import (
    ConfigurationError,
    OnexError,
    OutcomeUnknownError,
    ResourceExhaustedError,
)
from onex_grpc.intent.worker import IntentWorker
from onex_grpc.node.base import Node, Service
from onex_grpc.rpc import CallRuntime, Mesh
from onex_grpc.rpc.limits import MessageLimit
from onex_grpc.rpc.passage import is_asked_for
from onex_grpc.rpc.status import error_detail
from onex_grpc.store.protocol import Store
from onex_grpc.store.retention import DEFAULT_RETENTION, Retention
from onex_grpc.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence

    from onex_grpc.container import ModelONEXContainer

_log = logging.getLogger(__name__)
_MARGIN: Final = 2.0


class NodeEffect(Node):
    """Base of the user's effect nodes.

    What it may do stands in the container's EffectSettings; its own operations are those that
    `register_operations` adds. While it runs it executes the intents of the queues in its settings.
    """

    kind = common_pb2.NODE_TYPE_EFFECT

    def __init__(self, container: ModelONEXContainer) -> None:
        super().__init__(container)
        self._settings = (
            container.get_service(EffectSettings)
            if container.has_service(EffectSettings)
            else EffectSettings()
        )
        limited = container.has_service(MessageLimit)
        limit = container.get_service(MessageLimit) if limited else MessageLimit()
        self._message_bytes = limit.size
        self._mesh = container.get_service(Mesh)
        self._telemetry = container.get_service(Telemetry)
        kept = container.has_service(Retention)
        retention = container.get_service(Retention) if kept else DEFAULT_RETENTION
        custom = CustomOperations()
        self.register_operations(custom)
        self._custom = custom
        self.targets = EffectTargets(self._settings.targets, self._mesh, custom)
        self._executor = EffectExecutor(
            self.targets,
            custom,
            container.get_service(Store),
            self._telemetry,
            retention,
        )
        self._streams = EffectStreams(
            self.targets, custom, container.get_service(Store), self._telemetry
        )
        self._workers: list[IntentWorker] = []
        self._leaving: asyncio.Task[None] | None = None

    def register_operations(self, operations: CustomOperations) -> None:
        """Adds the node's own operations; called once, when the node is made."""

    async def execute_effect(
        self, contract: effect_pb2.ModelContractEffect
    ) -> effect_pb2.ModelEffectOutput:
        """Carries out one effect, an intent's too; may be overridden.

        Raises:
            TargetNotFoundError: for a target that the settings lack.
            OperationRefusedError: for an operation that the target does not allow.
            UnavailableError: when the outside system does not answer.
            OutcomeUnknownError: when it was interrupted on its way and must not be repeated.
        """
        return await self._executor.execute(contract)

    def execute_effect_stream(
        self, contracts: AsyncIterator[effect_pb2.ModelContractEffect]
    ) -> AsyncGenerator[effect_pb2.ModelEffectOutput, None]:
        """Carries out one operation of the node's own over a stream; may be overridden.

        One without streams carries out each request in turn. Raises as `execute_effect`, and
        ContractValidationError for a request for another operation than the first.
        """
        return StreamDoor(self._custom, self._streams, self.execute_effect).run(contracts)

    def execute_intents(
        self, intents: Iterable[intent_pb2.ModelIntent]
    ) -> AsyncGenerator[intent_pb2.IntentExecutionResult, None]:
        """Carries out intents, the most urgent first; one that fails does not stop the others.

        Those of one order_key follow one another in the order in which they are given.
        """
        return execute_by_priority(intents, self._result, self._settings.intents_in_flight)

    def services(self) -> Sequence[Service]:
        """EffectNodeService."""
        return (
            Service.of(
                effect_pb2_grpc.add_EffectNodeServiceServicer_to_server, _EffectServicer(self)
            ),
        )

    def operations(self) -> Sequence[str]:
        """The names of the targets, and of the messages of the node's own operations."""
        return [*self.targets.names, *self._custom.names]

    def accepted_routes(self) -> Sequence[str] | None:
        """The routes of the intents that it takes from queues, made by `onex_grpc.contract.route`;
        None for all.

        Those of its targets and its own operations, and all where `execute_effect` is overridden
        and there is nothing else. Override both where `execute_effect` does more than that.
        """
        own = self._custom.unary_names
        routes = [*map(custom_route, own), *self.targets.routes(own)]
        is_overridden = type(self).execute_effect is not NodeEffect.execute_effect
        return None if is_overridden and not self.operations() else routes

    async def dependencies(self) -> Mapping[str, bool]:
        """Whether the queues answer whose intents are taken."""
        return {worker.queue: worker.reachable for worker in self._workers}

    async def start(self) -> None:
        """Opens the targets and begins to take intents.

        Raises:
            ConfigurationError: for a target that cannot be used, or too many routes of intents.
        """
        routes = self.accepted_routes()
        if routes is not None and len(routes) > MOST_ROUTES:
            raise ConfigurationError(
                f"the targets and operations are {len(routes)} routes of intents, and a worker may "
                f"have {MOST_ROUTES}; divide them among several effect nodes"
            )
        try:
            await self.targets.open()
        except BaseException:
            await self.targets.close()
            raise
        self._start_taking(routes)
        if self.container.has_service(CallRuntime):
            self._leaving = asyncio.create_task(
                self._leave(self.container.get_service(CallRuntime))
            )

    def _start_taking(self, routes: Sequence[str] | None) -> None:
        if self._settings.queues and routes is not None and not routes:
            _log.warning("no intents are taken: there is neither a target nor an operation")
            return
        for queue in self._settings.queues:
            worker = IntentWorker(
                mesh=self._mesh,
                queue=queue,
                worker=self._worker_name(),
                execute=self._execute_queued,
                accepts=routes or (),
                telemetry=self._telemetry,
                in_flight=self._settings.intents_in_flight,
            )
            self._workers.append(worker)
            worker.start()

    def _worker_name(self) -> str:
        # Claims belong to a process: another one of the node must not free them when it says hello.
        instance = self.container.get_service(Store).instance
        return f"{self.name}/{instance}" if instance else self.name

    async def stop(self) -> None:
        """Lets running intents finish, gives back the rest and closes the targets."""
        if self._leaving is not None:
            if not self.container.get_service(CallRuntime).draining:
                self._leaving.cancel()
            await asyncio.wait((self._leaving,))
        await self._stop_taking()
        await self.targets.close()

    async def _leave(self, runtime: CallRuntime) -> None:
        # With the calls, not after them: both have the same time to finish.
        await runtime.until_draining()
        await self._stop_taking()

    async def _stop_taking(self) -> None:
        workers, self._workers = self._workers, []
        await asyncio.gather(*(worker.stop(self._settings.stop_grace) for worker in workers))

    def _time_for_intent(self, contract: effect_pb2.ModelContractEffect) -> float:
        """Seconds for one attempt of an intent of a queue."""
        return self._settings.intent_timeout

    async def _execute_queued(self, intent: intent_pb2.ModelIntent) -> None:
        # Repeats are the queue's: they outlive this process.
        contract = effect_of(intent, NO_REPEATS)
        limit = self._time_for_intent(contract)
        contract.external_service_config.timeout.FromNanoseconds(round(limit * 1e9))
        try:
            # The executor keeps to the contract's timeout; what a subclass does in its place may
            # not, and would hold its place among the intents in flight for ever.
            async with asyncio.timeout(limit + _MARGIN) as overdue:
                await self.execute_effect(contract)
        except TimeoutError as error:
            if not overdue.expired():
                raise
            raise OutcomeUnknownError(
                f"the intent for {intent.target!r} took longer than it may ({limit:g} s); "
                "look at the target before you repeat it",
                context={"target": intent.target},
            ) from error

    async def _result(self, intent: intent_pb2.ModelIntent) -> intent_pb2.IntentExecutionResult:
        result = intent_pb2.IntentExecutionResult(intent_id=intent.intent_id)
        call = current_call()
        if call is not None and intent.correlation_id:
            enter_call(replace(call, correlation_id=intent.correlation_id))
        try:
            output = await self.execute_effect(effect_of(intent, repeats_of(intent)))
        except OnexError as error:
            self._put_failure(result, error)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and is_asked_for():
                raise
            # An override of the user's may raise anything; the other intents go on.
            _log.exception("executing an intent for %s failed", intent.target)
            self._put_failure(result, OnexError("the effect node failed; see its log"))
        else:
            result.status = intent_pb2.INTENT_STATUS_COMPLETED
            result.result.CopyFrom(output.operation_result)
            self._keep_sendable(result, intent)
        finally:
            if call is not None:
                # The next one of its order_key may bring no id of its own.
                enter_call(call)
        return result

    def _keep_sendable(
        self, result: intent_pb2.IntentExecutionResult, intent: intent_pb2.ModelIntent
    ) -> None:
        """Tell of a result that no message can hold in its place: it would end the stream, and with
        it the results of the other intents.
        """
        if (size := result.ByteSize()) <= self._message_bytes:
            return
        error = ResourceExhaustedError(
            f"the intent for {intent.target!r} is executed, but its result has {size} bytes; at"
            f" most {self._message_bytes} are allowed (limits.message_bytes): return less, or"
            " raise the limit on both sides"
        )
        result.ClearField("result")
        result.error.CopyFrom(
            error_detail(error, correlation_id=intent.correlation_id, node=self.name)
        )

    def _put_failure(self, result: intent_pb2.IntentExecutionResult, error: OnexError) -> None:
        call = current_call()
        correlation_id = call.correlation_id if call else ""
        detail = error_detail(error, correlation_id=correlation_id, node=self.name)
        result.status = intent_pb2.INTENT_STATUS_FAILED
        result.error.CopyFrom(detail)


class _EffectServicer(effect_pb2_grpc.EffectNodeServiceServicer):
    def __init__(self, node: NodeEffect) -> None:
        self._node = node

    async def ExecuteEffect(
        self, request: effect_pb2.ModelContractEffect, context: object
    ) -> effect_pb2.ModelEffectOutput:
        return await self._node.execute_effect(request)

    async def ExecuteEffectStream(
        self, request_iterator: AsyncIterator[effect_pb2.ModelContractEffect], context: object
    ) -> AsyncIterator[effect_pb2.ModelEffectOutput]:
        async with aclosing(self._node.execute_effect_stream(request_iterator)) as outputs:
            async for output in outputs:
                yield output

    async def ExecuteIntents(
        self, request: effect_pb2.ExecuteIntentsRequest, context: object
    ) -> AsyncIterator[intent_pb2.IntentExecutionResult]:
        async with aclosing(self._node.execute_intents(request.intents)) as results:
            async for result in results:
                yield result
