"""ORCHESTRATOR nodes: coordinate workflows by actions under a lease."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from onex.v1 import (
    common_pb2,
    event_pb2_grpc,
    lease_pb2_grpc,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
    registry_pb2_grpc,
)
from onex_grpc.action.admission import ActionAdmission
from onex_grpc.action.executor import ActionExecutor
from onex_grpc.action.routing import Router
from onex_grpc.event import EventBus
from onex_grpc.lease.keeper import LeaseKeeper
from onex_grpc.lease.keys import SigningKey
from onex_grpc.lease.service import LeaseServicer
from onex_grpc.lease.settings import LeaseSettings
from onex_grpc.lease.token import sign_token
from onex_grpc.lease.verifier import TokenVerifier
from onex_grpc.node.base import Node, Service
from onex_grpc.registry import Registry
from onex_grpc.rpc.calls import CallRuntime
from onex_grpc.rpc.client import Mesh
from onex_grpc.rpc.limits import ConcurrentCalls, MessageLimit
from onex_grpc.store.protocol import Store
from onex_grpc.store.retention import DEFAULT_RETENTION, Retention
from onex_grpc.telemetry import NO_TELEMETRY, Telemetry
from onex_grpc.workflow.engine import WorkflowEngine
from onex_grpc.workflow.handlers import WorkflowHandlers
from onex_grpc.workflow.outage import Outages
from onex_grpc.workflow.service import WorkflowServicer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from onex_grpc.container import ModelONEXContainer


class NodeOrchestrator(Node):
    """Base of the user's orchestrators; it also issues the leases and keeps the event log.

    Its container offers the Store, the Mesh, the SigningKey and its TokenVerifier; LeaseSettings,
    Telemetry and CallRuntime where they are not the defaults.

    Attributes:
        registry: who serves the nodes of the mesh.
    """

    kind = common_pb2.NODE_TYPE_ORCHESTRATOR

    def __init__(self, container: ModelONEXContainer) -> None:
        super().__init__(container)
        settings = (
            container.get_service(LeaseSettings)
            if container.has_service(LeaseSettings)
            else LeaseSettings()
        )
        observed = container.has_service(Telemetry)
        key = container.get_service(SigningKey)
        self._store = container.get_service(Store)
        limited = container.has_service(MessageLimit)
        limit = container.get_service(MessageLimit) if limited else MessageLimit()
        kept = container.has_service(Retention)
        self._retention = container.get_service(Retention) if kept else DEFAULT_RETENTION
        self.registry = Registry(self._store, settings.ttl, limit.size)
        self._leases = LeaseServicer(self._store, key, settings)
        self._keeper = LeaseKeeper(self._store, lambda grant: sign_token(key, grant, time.time()))
        mesh = container.get_service(Mesh)
        router = Router(mesh)
        handlers = WorkflowHandlers()
        self.register_workflows(handlers)
        self._workflows = handlers.names()
        self.engine = WorkflowEngine(
            store=self._store,
            router=router,
            keeper=self._keeper,
            telemetry=container.get_service(Telemetry) if observed else NO_TELEMETRY,
            handlers=handlers,
            outages=Outages(mesh, max(1, _concurrent_calls(container).limit // 4)),
            holder=self.name,
            ttl=settings.ttl,
        )
        verifier = container.get_service(TokenVerifier)
        admission = ActionAdmission(self._store, verifier, leeway=settings.leeway)
        self._actions = ActionExecutor(
            self._store,
            admission,
            router,
            retention=self._retention,
            reducers_of=self.engine.reducers_of,
            on_aborted=self.engine.abandon,
            on_rolled_back=self.engine.rolled_back,
        )

    def register_workflows(self, handlers: WorkflowHandlers) -> None:
        """Offers workflows that are code: those that a contract without a graph asks for."""

    def operations(self) -> Sequence[str]:
        """The workflows that are code."""
        return self._workflows

    async def execute_orchestration(
        self, contract: orchestrator_pb2.ModelContractOrchestrator
    ) -> orchestrator_pb2.ModelOrchestratorOutput:
        """Runs a workflow to its end; may be overridden.

        Who gives up waiting does not stop the workflow.

        Raises:
            ContractValidationError: when the graph or a binding is wrong, or no handler fits;
                names all faults.
            AlreadyExistsError: when the workflow id was used for another content.
            LeaseConflictError: when another holder coordinates the workflow.
            WorkflowExecutionError: when a step of a graph failed for good; a repeat gets it again.
            OnexError: what the workflow's handler raised; a repeat gets it again.
        """
        return await self.engine.execute(contract)

    async def execute_action(
        self, request: orchestrator_pb2.ExecuteActionRequest
    ) -> orchestrator_pb2.ExecuteActionResponse:
        """Executes one action of a workflow's holder, once; raises as its checks do."""
        return await self._actions.execute(request)

    def services(self) -> Sequence[Service]:
        """OrchestratorNodeService, WorkflowService, and the services of the mechanisms."""
        served = self.container.has_service(CallRuntime)
        runtime = self.container.get_service(CallRuntime) if served else None
        draining = None if runtime is None else runtime.until_draining
        events = EventBus(self._store, draining, self._retention)
        registry = self.registry.servicer(
            draining, nullcontext if runtime is None else runtime.stand
        )
        return (
            Service.of(
                orchestrator_pb2_grpc.add_OrchestratorNodeServiceServicer_to_server,
                _OrchestratorServicer(self),
            ),
            Service.of(
                orchestrator_pb2_grpc.add_WorkflowServiceServicer_to_server,
                WorkflowServicer(self._store),
            ),
            Service.of(lease_pb2_grpc.add_LeaseServiceServicer_to_server, self._leases),
            Service.of(event_pb2_grpc.add_EventBusServiceServicer_to_server, events),
            Service.of(registry_pb2_grpc.add_RegistryServiceServicer_to_server, registry),
        )

    async def start(self) -> None:
        """Goes on with the workflows that nobody works on, now and whenever there are such."""
        await self.registry.start()
        await self.engine.resume_all()
        self.engine.keep_resuming()

    async def stop(self) -> None:
        """Stops running workflows; the node's next process goes on with them."""
        await self.engine.close()
        await self._actions.close()
        await self._keeper.close()
        await self.registry.close()


def _concurrent_calls(container: ModelONEXContainer) -> ConcurrentCalls:
    if not container.has_service(ConcurrentCalls):
        return ConcurrentCalls()
    return container.get_service(ConcurrentCalls)


class _OrchestratorServicer(orchestrator_pb2_grpc.OrchestratorNodeServiceServicer):
    def __init__(self, node: NodeOrchestrator) -> None:
        self._node = node

    async def ExecuteOrchestration(
        self, request: orchestrator_pb2.ModelContractOrchestrator, context: object
    ) -> orchestrator_pb2.ModelOrchestratorOutput:
        return await self._node.execute_orchestration(request)

    async def StreamOrchestration(
        self,
        request_iterator: AsyncIterator[orchestrator_pb2.ModelContractOrchestrator],
        context: object,
    ) -> AsyncIterator[orchestrator_pb2.ModelOrchestratorOutput]:
        async for request in request_iterator:
            yield await self._node.execute_orchestration(request)

    async def ExecuteAction(
        self, request: orchestrator_pb2.ExecuteActionRequest, context: object
    ) -> orchestrator_pb2.ExecuteActionResponse:
        return await self._node.execute_action(request)
