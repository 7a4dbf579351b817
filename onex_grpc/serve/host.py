"""A node with everything that it works with, made from settings; how it is reached is left open."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onex.v1 import node_pb2, node_pb2_grpc
from onex_grpc.container import ModelONEXContainer
from onex_grpc.contract.node import kind_name
from onex_grpc.effect.settings import EffectSettings
from onex_grpc.errors import ConfigurationError, StoreError
from onex_grpc.lease.admission import LeaseAdmission, require_lease, require_lease_for
from onex_grpc.lease.keys import KeySource, PinnedKeys, RemoteKeys, SigningKey, load_signing_key
from onex_grpc.lease.online import OnlineAdmission
from onex_grpc.lease.settings import LeaseSettings
from onex_grpc.lease.verifier import TokenVerifier
from onex_grpc.node.base import Node, Service
from onex_grpc.rpc.calls import Admit, CallRuntime
from onex_grpc.rpc.client import Mesh
from onex_grpc.rpc.limits import ConcurrentCalls, MessageLimit
from onex_grpc.serve.admissions import check_flow, check_flow_to, refuse_unfit, wait_for_start
from onex_grpc.serve.call_limit import CallLimit
from onex_grpc.serve.health import Health
from onex_grpc.serve.housekeeping import Housekeeper
from onex_grpc.serve.instance import instance_name
from onex_grpc.serve.issuer import ISSUER, LeaseIssuer
from onex_grpc.serve.node_service import NodeServicer
from onex_grpc.store.opening import open_store
from onex_grpc.store.protocol import Store
from onex_grpc.store.retention import Retention
from onex_grpc.store.traced import traced
from onex_grpc.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from onex_grpc.serve.settings import LimitSettings, Settings


_WITH_STORE: Final = frozenset({"effect", "reducer", "orchestrator"})
_PATIENCE: Final = 30.0
"""Seconds for which a database that is down is waited for, as one that starts beside the node."""


def named(node_class: type[Node], name: str) -> type[Node]:
    """The class under another name, so that one class serves under several; itself where empty.

    Raises:
        ConfigurationError: for a class without a descriptor, and for a name that no node can have.
    """
    if not isinstance(getattr(node_class, "descriptor", None), node_pb2.NodeDescriptor):
        raise ConfigurationError(
            f"{node_class.__name__} has no descriptor; give it one with name and version"
        )
    if missing := sorted(getattr(node_class, "__abstractmethods__", ())):
        raise ConfigurationError(
            f"{node_class.__name__} lacks {', '.join(missing)}; write what its kind needs"
        )
    if not name or name == node_class.descriptor.name:
        return node_class
    descriptor = node_pb2.NodeDescriptor()
    descriptor.CopyFrom(node_class.descriptor)
    descriptor.name = name
    return type(node_class.__name__, (node_class,), {"descriptor": descriptor})


class NodeHost:
    """A node, its container, its store and the runtime of its calls.

    Attributes:
        node: the node.
        runtime: what its calls go through.
        health: what it says of itself; SERVING from `start` to `stop_serving`.
    """

    def __init__(
        self, node: Node, runtime: CallRuntime, health: Health, limits: LimitSettings
    ) -> None:
        self.node = node
        self.runtime = runtime
        self.health = health
        self._resources = AsyncExitStack()
        descriptor = node_pb2.NodeDescriptor()
        descriptor.CopyFrom(node.descriptor)
        self._described = NodeServicer(node, descriptor, runtime, limits, lambda: health.serving)

    @classmethod
    async def create(
        cls, node_class: type[Node], settings: Settings, runtime: CallRuntime, mesh: Mesh
    ) -> NodeHost:
        """Opens the store, fills the container and makes the node; nothing runs yet.

        Args:
            node_class: the node, under its final name.
            settings: of this process.
            runtime: what its calls will go through; gets its admissions here.
            mesh: how it calls other nodes.

        Raises:
            ConfigurationError: when a setting cannot be used.
            StoreInUseError: when another process has the node's store open, in PostgreSQL as the
                same instance.
            DatabaseConnectionError: when the store's PostgreSQL cannot be reached; one that is down
                is waited for first.
        """
        kind = kind_name(node_class.descriptor.node_type)
        async with AsyncExitStack() as resources:
            health = Health()
            container = ModelONEXContainer()
            container.register(Mesh, mesh)
            container.register(Telemetry, runtime.telemetry)
            container.register(CallRuntime, runtime)
            container.register(LeaseSettings, settings.lease)
            container.register(MessageLimit, MessageLimit(settings.limits.message_bytes))
            container.register(ConcurrentCalls, ConcurrentCalls(settings.limits.concurrent_calls))
            if kind in _WITH_STORE:
                address = settings.store or _store_file(settings.state, runtime.node)
                retention = settings.retention.rules()
                container.register(Retention, retention)
                keeper = Housekeeper(retention)
                store = await open_store(
                    address,
                    owner=runtime.node,
                    instance=instance_name(settings),
                    patience=_PATIENCE,
                    on_batch=keeper.on_batch,
                    on_damage=_told_to(health),
                )
                resources.push_async_callback(store.close)
                keeper.start(store)
                resources.push_async_callback(keeper.stop)
                container.register(Store, traced(store, runtime.telemetry))
            if kind == "effect":
                container.register(EffectSettings, _effect_settings(settings))
            issuer = LeaseIssuer(mesh)
            verifier = TokenVerifier(await _keys(kind, container, issuer))
            container.register(TokenVerifier, verifier)
            runtime.admissions = (
                *_admissions(settings, runtime, health, node_class.descriptor),
                *_lease_admissions(settings, kind, verifier, issuer),
            )
            host = cls(node_class(container), runtime, health, settings.limits)
            host._resources = resources.pop_all()
            return host
        raise AssertionError("an exit stack swallows nothing")

    @property
    def description(self) -> node_pb2.NodeDescriptor:
        """The node as it is served; complete once it was started."""
        return self._described.descriptor

    def services(self) -> list[Service]:
        """What a server adds: the node's own services and NodeService."""
        about = Service.of(node_pb2_grpc.add_NodeServiceServicer_to_server, self._described)
        return [*self.node.services(), about]

    async def start(self, services: Sequence[str]) -> None:
        """Starts the node's background work and takes calls.

        Args:
            services: full names of all services that the process serves.
        """
        self.health.announce(services)
        self._described.describe(services)
        self._resources.push_async_callback(self.node.stop)
        await self.node.start()
        self.health.begin_serving()

    async def stop_serving(self) -> None:
        """Says NOT_SERVING for good."""
        self.health.end_serving()

    async def stop(self) -> None:
        """Ends the node's background work and closes its store; calls have ended before."""
        await self._resources.aclose()


def _told_to(health: Health) -> Callable[[StoreError], None]:
    """Has a damaged store end the serving, on the event loop that runs now."""
    loop = asyncio.get_running_loop()

    def tell(damage: StoreError) -> None:
        loop.call_soon_threadsafe(health.fail, str(damage))

    return tell


def _store_file(state: str, name: str) -> Path:
    return Path(state) / f"{name.replace('/', '-')}.db"


async def _keys(kind: str, container: ModelONEXContainer, issuer: LeaseIssuer) -> KeySource:
    if kind == ISSUER:
        key = await load_signing_key(container.get_service(Store))
        container.register(SigningKey, key)
        return PinnedKeys.of(key)
    return RemoteKeys(issuer.list_keys)


def _admissions(
    settings: Settings,
    runtime: CallRuntime,
    health: Health,
    node: node_pb2.NodeDescriptor,
) -> Iterator[Admit]:
    kind, own = kind_name(node.node_type), node.contract.service
    yield refuse_unfit(runtime.node, lambda: health.fault)
    yield wait_for_start(runtime.node, lambda: health.serving)
    limits = settings.limits
    yield CallLimit(runtime, limits.concurrent_calls, limits.queue_seconds)
    yield check_flow
    if own:
        yield check_flow_to(own, kind)
    if settings.require_lease:
        yield require_lease
        # Orchestrators take leases for what they are asked; nobody else has one for it yet.
        if own and kind != ISSUER:
            yield require_lease_for(own)


def _lease_admissions(
    settings: Settings, kind: str, verifier: TokenVerifier, issuer: LeaseIssuer
) -> Iterator[Admit]:
    yield LeaseAdmission(verifier, leeway=settings.lease.leeway)
    # The issuer itself looks into its store for each action.
    if settings.lease_check == "online" and kind != ISSUER:
        yield OnlineAdmission(issuer.verify_lease)


def _effect_settings(settings: Settings) -> EffectSettings:
    return EffectSettings(
        targets=settings.targets,
        queues=settings.queues,
        intents_in_flight=settings.intents_in_flight,
        intent_timeout=settings.intent_timeout,
        stop_grace=settings.drain_grace,
    )
