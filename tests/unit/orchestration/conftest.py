"""An orchestrator with a real store, and the nodes that it calls, in one process."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import pytest
from google.protobuf.wrappers_pb2 import Int64Value

from onex.v1 import (
    compute_pb2,
    compute_pb2_grpc,
    effect_pb2,
    effect_pb2_grpc,
    intent_pb2,
    lease_pb2_grpc,
    node_pb2,
    orchestrator_pb2_grpc,
)
from onex_grpc.container import ModelONEXContainer
from onex_grpc.context import CallContext, current_call
from onex_grpc.errors import GuardRejectedError, UnimplementedError
from onex_grpc.lease.admission import LeaseAdmission
from onex_grpc.lease.keys import PinnedKeys, SigningKey, load_signing_key
from onex_grpc.lease.settings import LeaseSettings
from onex_grpc.lease.verifier import TokenVerifier
from onex_grpc.node import NodeOrchestrator, NodeReducer
from onex_grpc.reducer import ReducerAction, Reduction
from onex_grpc.rpc.calls import CallRuntime
from onex_grpc.rpc.client import Mesh
from onex_grpc.rpc.local import LocalServer
from onex_grpc.store.opening import open_store
from onex_grpc.store.protocol import Store
from onex_grpc.telemetry import NO_TELEMETRY
from onex_grpc.workflow.handlers import WorkflowHandler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from google.protobuf.message import Message

    from onex_grpc.errors import OnexError
    from onex_grpc.workflow.handlers import Handler, WorkflowHandlers


Addresses: TypeAlias = "dict[str, LocalServer | str]"
"""Where the callees are: in this process, or at `host:port`."""


class Orchestrator(NodeOrchestrator):
    """Runs the handlers that a test has written into `offered`."""

    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")

    def register_workflows(self, handlers: WorkflowHandlers) -> None:
        for request, run in self.container.get_service(Offered).items():
            name = request.DESCRIPTOR.full_name
            handlers.offer(WorkflowHandler(name=name, request=request, run=run))


class Offered(dict["type[Message]", "Handler"]):
    """The handlers of an orchestrator, by the type of their request."""


@dataclass
class Script:
    """What the callees do, and what they saw; steps are told apart by what they are asked for."""

    calls: Counter[str] = field(default_factory=Counter)
    seen: dict[str, CallContext] = field(default_factory=dict)
    errors: dict[str, list[OnexError]] = field(default_factory=dict)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    entered: dict[str, asyncio.Event] = field(default_factory=dict)

    def gate(self, name: str) -> asyncio.Event:
        """Lets calls of this name wait for the event that it returns."""
        self.entered[name] = asyncio.Event()
        return self.gates.setdefault(name, asyncio.Event())

    async def play(self, name: str) -> None:
        call = current_call()
        assert call is not None
        self.calls[name] += 1
        self.seen[name] = call
        if name in self.gates:
            self.entered[name].set()
            await self.gates[name].wait()
        if self.errors.get(name):
            raise self.errors[name].pop(0)


class Compute(compute_pb2_grpc.ComputeNodeServiceServicer):
    """Returns its input; its calls are named by the algorithm."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def ExecuteCompute(
        self, request: compute_pb2.ModelContractCompute, context: object
    ) -> compute_pb2.ModelComputeOutput:
        await self._script.play(request.algorithm_config.algorithm_type)
        return compute_pb2.ModelComputeOutput(
            correlation_id=request.correlation_id, processed_data=request.input_data
        )

    async def ExecuteComputeStream(
        self,
        request_iterator: AsyncIterator[compute_pb2.ModelContractCompute],
        context: object,
    ) -> AsyncIterator[compute_pb2.ModelComputeOutput]:
        raise UnimplementedError("workflows open no streams")
        yield compute_pb2.ModelComputeOutput()


class Effect(effect_pb2_grpc.EffectNodeServiceServicer):
    """Does nothing; its calls are named by the target, and it keeps the keys."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.keys: list[str] = []

    async def ExecuteEffect(
        self, request: effect_pb2.ModelContractEffect, context: object
    ) -> effect_pb2.ModelEffectOutput:
        self.keys.append(request.io_operation_config.idempotency_key)
        await self._script.play(request.external_service_config.service_name)
        return effect_pb2.ModelEffectOutput(correlation_id=request.correlation_id)

    async def ExecuteEffectStream(
        self, request_iterator: AsyncIterator[effect_pb2.ModelContractEffect], context: object
    ) -> AsyncIterator[effect_pb2.ModelEffectOutput]:
        raise UnimplementedError("workflows open no streams")
        yield effect_pb2.ModelEffectOutput()

    async def ExecuteIntents(
        self, request: effect_pb2.ExecuteIntentsRequest, context: object
    ) -> AsyncIterator[intent_pb2.IntentExecutionResult]:
        raise UnimplementedError("workflows hand over no intents")
        yield intent_pb2.IntentExecutionResult()


class Tally(NodeReducer[Int64Value]):
    """Counts the actions of an entity; REFUSE is never allowed, WISH emits an intent."""

    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")
    state_type = Int64Value

    def transition(self, state: Int64Value, action: ReducerAction) -> Reduction[Int64Value]:
        if action.name == "REFUSE":
            raise GuardRejectedError("never")
        wishes = [_wish(action.state_key)] if action.name == "WISH" else []
        return Reduction(Int64Value(value=state.value + 1), wishes)


def _wish(key: str) -> intent_pb2.ModelIntent:
    wish = intent_pb2.ModelIntent(
        intent_type=intent_pb2.INTENT_TYPE_MESSAGE_PUBLISH, target="events"
    )
    wish.payload.message.event_type = "WISHED"
    wish.payload.message.key = key
    return wish


@dataclass
class House:
    """The mesh: one orchestrator over a store, an effect, a compute and a reducer node.

    Attributes:
        states: the reducer's store.
    """

    store: Store
    states: Store
    mesh: Mesh
    script: Script
    effect: Effect
    settings: LeaseSettings
    key: SigningKey
    clock_us: Callable[[], int]
    addresses: Addresses
    offered: Offered
    node: NodeOrchestrator

    @property
    def orchestrator(self) -> orchestrator_pb2_grpc.OrchestratorNodeServiceStub:
        return self.mesh.stub(orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator")

    @property
    def leases(self) -> lease_pb2_grpc.LeaseServiceStub:
        return self.mesh.stub(lease_pb2_grpc.LeaseServiceStub, "orchestrator")

    @property
    def workflows(self) -> orchestrator_pb2_grpc.WorkflowServiceStub:
        return self.mesh.stub(orchestrator_pb2_grpc.WorkflowServiceStub, "orchestrator")


class SetClock:
    """The store's clock: the real one and what was added to it."""

    def __init__(self) -> None:
        self.added_us = 0

    def __call__(self) -> int:
        return time.time_ns() // 1000 + self.added_us

    def advance(self, seconds: float) -> None:
        self.added_us += round(seconds * 1e6)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def settings() -> LeaseSettings:
    return LeaseSettings(ttl=30.0, floor=0.05, leeway=0.0)


@pytest.fixture
def offered() -> Offered:
    """No handlers; overridden where there are some."""
    return Offered()


@pytest.fixture
async def house(
    tmp_path: Path, clock: SetClock, settings: LeaseSettings, offered: Offered
) -> AsyncIterator[House]:
    async with AsyncExitStack() as resources:
        store = await open_store(tmp_path / "orchestrator.db", clock=clock)
        resources.push_async_callback(store.close)
        states = await open_store(tmp_path / "reducer.db", clock=clock)
        resources.push_async_callback(states.close)
        key = await load_signing_key(store)
        script = Script()
        effect = Effect(script)
        names = ("compute/main", "effect/main", "reducer/main")
        servers = {name: _server(key) for name in names}
        servers["compute/main"].add(
            compute_pb2_grpc.add_ComputeNodeServiceServicer_to_server, Compute(script)
        )
        servers["effect/main"].add(effect_pb2_grpc.add_EffectNodeServiceServicer_to_server, effect)
        container = ModelONEXContainer()
        container.register(Store, states)
        for service in Tally(container).services():
            servers["reducer/main"].add(service.register, service.servicer)
        addresses: Addresses = {**servers}
        started = orchestrating(store, key, settings, addresses, offered)
        node, mesh = await resources.enter_async_context(started)
        yield House(
            store, states, mesh, script, effect, settings, key, clock, addresses, offered, node
        )


@asynccontextmanager
async def orchestrating(
    store: Store,
    key: SigningKey,
    settings: LeaseSettings,
    addresses: Addresses,
    offered: Offered,
) -> AsyncIterator[tuple[NodeOrchestrator, Mesh]]:
    """An orchestrator that is started, and the mesh that it belongs to."""
    runtime = _runtime(key, "orchestrator/main")
    server = LocalServer(runtime)
    mesh = Mesh({**addresses, "orchestrator/main": server})
    container = _container(store, key, settings, mesh, runtime)
    container.register(Offered, offered)
    node = Orchestrator(container)
    for service in node.services():
        server.add(service.register, service.servicer)
    await node.start()
    try:
        yield node, mesh
    finally:
        await node.stop()
        await mesh.close()


@pytest.fixture
def successor(house: House) -> Callable[[], object]:
    """The orchestrator's next process, on the same store: an async context manager of a House."""

    @asynccontextmanager
    async def start() -> AsyncIterator[House]:
        await house.node.stop()
        async with orchestrating(
            house.store, house.key, house.settings, house.addresses, house.offered
        ) as (node, mesh):
            yield House(
                house.store,
                house.states,
                mesh,
                house.script,
                house.effect,
                house.settings,
                house.key,
                house.clock_us,
                house.addresses,
                house.offered,
                node,
            )

    return start


def _container(
    store: Store, key: SigningKey, settings: LeaseSettings, mesh: Mesh, runtime: CallRuntime
) -> ModelONEXContainer:
    container = ModelONEXContainer()
    container.register(Store, store)
    container.register(SigningKey, key)
    container.register(TokenVerifier, TokenVerifier(PinnedKeys.of(key)))
    container.register(LeaseSettings, settings)
    container.register(Mesh, mesh)
    container.register(CallRuntime, runtime)
    return container


def _runtime(key: SigningKey, node: str) -> CallRuntime:
    admission = LeaseAdmission(TokenVerifier(PinnedKeys.of(key)), leeway=0.0)
    return CallRuntime(node=node, telemetry=NO_TELEMETRY, admissions=(admission,))


def _server(key: SigningKey) -> LocalServer:
    return LocalServer(_runtime(key, "callee/main"))
