"""A whole mesh in one process: nodes of all kinds, wired by the in-process transport.

Calls go through the same wrapper, checks and errors as over the network, and state is in real
SQLite files.
"""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

from msgspec.structs import replace

from onex_grpc.contract.node import kind_name, node_name
from onex_grpc.errors import ConfigurationError
from onex_grpc.node.base import Node
from onex_grpc.rpc.calls import CallRuntime
from onex_grpc.rpc.client import ClientOptions, Mesh, StubType
from onex_grpc.rpc.local import LocalServer
from onex_grpc.serve.host import NodeHost, named
from onex_grpc.serve.settings import Settings
from onex_grpc.telemetry import NO_TELEMETRY, Telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

S = TypeVar("S")
N = TypeVar("N", bound=Node)

# Who is called starts before its callers, and stops after them.
_START_ORDER: Final = ("reducer", "compute", "effect", "orchestrator")


class LocalMesh:
    """Runs nodes while the block runs; calls to them are made by `stub`.

    Effect nodes take the intents of all reducers of the mesh unless the settings name queues.
    """

    def __init__(
        self,
        node_classes: Sequence[type[Node]],
        *,
        settings: Settings | None = None,
        state: Path | None = None,
        telemetry: Telemetry = NO_TELEMETRY,
    ) -> None:
        """Names the nodes; nothing runs yet.

        Args:
            node_classes: one class per node.
            settings: those of all nodes; addresses and ports are not used.
            state: folder of the stores, for a mesh that is started again over it; a temporary
                one where it is None.
            telemetry: of all nodes and of the calls from outside.

        Raises:
            ConfigurationError: for a class without a descriptor, or two nodes of one name.
        """
        self._settings = settings or Settings()
        self._classes = {node_name(c.descriptor): c for c in (named(c, "") for c in node_classes)}
        if len(self._classes) != len(node_classes):
            raise ConfigurationError("two nodes of the mesh have the same kind and name")
        self._state = state
        self._telemetry = telemetry
        self._resources = AsyncExitStack()
        self._mesh = Mesh({})
        self._nodes: dict[str, Node] = {}

    @property
    def mesh(self) -> Mesh:
        """Calls as an outside client makes them."""
        return self._mesh

    def stub(self, stub_type: StubType[S], target: str) -> S:
        """A generated stub for `kind` or `kind/name`; raises as `Mesh.stub`."""
        return self._mesh.stub(stub_type, target)

    def node(self, node_class: type[N]) -> N:
        """The running node of a class.

        Raises:
            ConfigurationError: when the mesh has none.
        """
        for node in self._nodes.values():
            if isinstance(node, node_class):
                return node
        raise ConfigurationError(f"the mesh runs no {node_class.__name__}")

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as resources:
            await self._start(resources)
            self._resources = resources.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._resources.aclose()

    async def _start(self, resources: AsyncExitStack) -> None:
        settings = self._shared_settings(resources)
        runtimes = {n: CallRuntime(node=n, telemetry=self._telemetry) for n in self._classes}
        limit = settings.limits.message_bytes
        servers = {n: LocalServer(r, message_bytes=limit) for n, r in runtimes.items()}
        self._mesh = self._connect(servers, "", resources)
        for name in sorted(self._classes, key=self._start_rank):
            mesh = self._connect(servers, name, resources)
            host = await NodeHost.create(self._classes[name], settings, runtimes[name], mesh)
            resources.push_async_callback(host.stop)
            server = servers[name]
            server.on_drain.append(host.stop_serving)
            for service in host.services():
                server.add(service.register, service.servicer)
            resources.push_async_callback(server.drain, settings.drain_grace)
            await host.start(server.services)
            self._nodes[name] = host.node

    def _shared_settings(self, resources: AsyncExitStack) -> Settings:
        state = self._state
        if state is None:
            state = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="onex-")))
        reducers = [name for name in self._classes if name.startswith("reducer/")]
        queues = self._settings.queues or reducers
        return replace(self._settings, state=str(state), queues=queues, name="")

    def _connect(
        self, servers: Mapping[str, LocalServer], caller: str, resources: AsyncExitStack
    ) -> Mesh:
        options = ClientOptions(message_bytes=self._settings.limits.message_bytes)
        mesh = Mesh(servers, caller=caller, telemetry=self._telemetry, options=options)
        resources.push_async_callback(mesh.close)
        return mesh

    def _start_rank(self, name: str) -> int:
        return _START_ORDER.index(kind_name(self._classes[name].descriptor.node_type))
