"""One typed node on a real socket of this process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec.structs import replace

from onex_grpc.contract.node import kind_name
from onex_grpc.node.base import Node
from onex_grpc.rpc import CallRuntime, ClientOptions, Mesh, Server, ServerOptions
from onex_grpc.serve.health import add_health
from onex_grpc.serve.host import NodeHost, named
from onex_grpc.serve.settings import Settings
from onex_grpc.telemetry import NO_TELEMETRY

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

N = TypeVar("N", bound=Node)
M = TypeVar("M")


@dataclass
class Served(Generic[N]):
    """A node that is served, and a mesh that knows it by its kind."""

    node: N
    mesh: Mesh
    address: str
    kind: str

    def caller(self, name: str) -> Mesh:
        """Calls of another node; to be closed."""
        return Mesh({self.kind: self.address}, caller=name)


async def gather(source: AsyncGenerator[M, None], found: list[M]) -> None:
    """Adds what a source yields to a list, which has it also when the source fails."""
    async for each in source:
        found.append(each)  # noqa: PERF401 - a comprehension would lose what came before


@asynccontextmanager
async def serving(
    node_class: type[N], state: Path, settings: Settings | None = None
) -> AsyncGenerator[Served[N], None]:
    kind = kind_name(node_class.descriptor.node_type)
    name = f"{kind}/{node_class.descriptor.name}"
    runtime = CallRuntime(node=name, telemetry=NO_TELEMETRY)
    settings = replace(settings or Settings(), state=str(state))
    own = Mesh({}, caller=name)
    host = await NodeHost.create(named(node_class, ""), settings, runtime, own)
    server = Server(runtime, ServerOptions(), on_drain=[host.stop_serving])
    server.add(add_health, host.health)
    for service in host.services():
        server.add(service.register, service.servicer)
    address = f"127.0.0.1:{await server.start()}"
    await host.start(server.services)
    mesh = Mesh({kind: address}, options=ClientOptions(default_timeout=20.0))
    assert isinstance(host.node, node_class)
    try:
        yield Served(host.node, mesh, address, kind)
    finally:
        await mesh.close()
        await server.drain(2.0)
        await host.stop()
        await own.close()
