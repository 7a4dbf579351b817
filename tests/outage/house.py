"""The processes of a mesh, one of which goes away and returns."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import grpc
from grpc_health.v1 import health_pb2

from onex.v1 import registry_pb2, registry_pb2_grpc
from onex_grpc.rpc.client import Mesh
from onex_grpc.testing.process import NodeProcess
from servers.supervisor import free_ports
from tests.outage.contracts import GENERATED
from tests.outage.plan import KINDS
from tests.store.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.outage.plan import Plan

ORCHESTRATOR: Final = "orchestrator"
_CLASSES: Final = {"compute": "Route", "reducer": "Seat", "effect": "Carrier", ORCHESTRATOR: "Trip"}
_ROOT: Final = Path(__file__).resolve().parents[2]
_PATHS: Final = (_ROOT, _ROOT / "generated", GENERATED)
_START_SECONDS: Final = 30


class House:
    """Four nodes in one folder, up while the block runs.

    Attributes:
        folder: their working folder.
        mesh: an outside client.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self._plan = plan
        self._stack = AsyncExitStack()
        self._ports = dict(zip(_CLASSES, free_ports(len(_CLASSES)), strict=True))
        self._processes: dict[str, NodeProcess] = {}
        self.mesh = Mesh({ORCHESTRATOR: self._at(ORCHESTRATOR)})

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.mesh.close)
            self._write_settings(self._database(stack))
            for kind in (ORCHESTRATOR, *KINDS):
                self._processes[kind] = self._process(kind)
                await stack.enter_async_context(self._processes[kind])
            self._stack = stack.pop_all()
        await self._found()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def address(self, kind: str) -> str:
        """Return where a node serves."""
        return self._processes[kind].address

    async def end(self, kind: str) -> None:
        """End a process, as a crash does or as a supervisor does."""
        process = self._processes[kind]
        await (process.kill() if self._plan.by_kill else process.stop())

    async def start(self, kind: str) -> float:
        """Start a process again; return when its health says SERVING, by monotonic time."""
        process = self._processes[kind]
        await process.start()
        async with (
            asyncio.timeout(_START_SECONDS),
            grpc.aio.insecure_channel(process.address) as channel,
        ):
            watch = channel.unary_stream(
                "/grpc.health.v1.Health/Watch",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            async for answer in watch(health_pb2.HealthCheckRequest(), wait_for_ready=True):
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    break
        return time.monotonic()

    def _process(self, kind: str) -> NodeProcess:
        by_registry = self._plan.way == "registry" and kind != ORCHESTRATOR
        return NodeProcess(
            f"tests.outage.nodes:{_CLASSES[kind]}",
            folder=self.folder,
            # The process that returns keeps its name, as that of a StatefulSet does.
            options=("--instance", "one") if self._plan.store == "postgresql" else (),
            environment=self._environment(by_registry),
            # What registers may come back anywhere.
            port=0 if by_registry else self._ports[kind],
        )

    def _environment(self, by_registry: bool) -> Mapping[str, str]:
        paths = {"PYTHONPATH": ":".join(map(str, _PATHS))}
        return {**paths, "ONEX_REGISTRY": self._at(ORCHESTRATOR)} if by_registry else paths

    def _database(self, stack: AsyncExitStack) -> str:
        if self._plan.store == "sqlite":
            return ""
        server = PostgresServer()
        stack.callback(server.stop)
        return server.address

    def _write_settings(self, store: str) -> None:
        lines = [f"store = {json.dumps(store)}", "drain_grace = 0.5"]
        if self._plan.way == "addresses":
            lines += [
                "[addresses]",
                *(f"{kind} = {json.dumps(self._at(kind))}" for kind in _CLASSES),
            ]
        (self.folder / "onex.toml").write_text("\n".join(lines))

    def _at(self, kind: str) -> str:
        return f"127.0.0.1:{self._ports[kind]}"

    async def _found(self) -> None:
        """Return when the registry knows all nodes that find each other by it."""
        if self._plan.way == "addresses":
            return
        registry = self.mesh.stub(registry_pb2_grpc.RegistryServiceStub, ORCHESTRATOR)
        async with asyncio.timeout(_START_SECONDS):
            async for picture in registry.WatchNodes(registry_pb2.WatchNodesRequest()):
                found = {node.address for node in picture.nodes}
                if all(self._processes[kind].address in found for kind in KINDS):
                    return
