"""The registry over a store in memory, reached in this process."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import pytest

from onex.v1 import common_pb2, node_pb2, registry_pb2, registry_pb2_grpc
from onex_grpc.errors import (
    ContractValidationError,
    NodeUnavailableError,
    StoreInUseError,
)
from onex_grpc.registry import Membership, OwnMembership, Registry
from onex_grpc.registry.registrations import Holder
from onex_grpc.rpc import CallRuntime, LocalServer, Mesh
from onex_grpc.store.model import NodeEntry
from onex_grpc.store.opening import open_store
from onex_grpc.telemetry import NO_TELEMETRY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from onex_grpc.store.protocol import Store

    Registering = grpc.aio.StreamStreamCall[
        registry_pb2.RegisterNodeRequest, registry_pb2.RegisterNodeResponse
    ]

TTL = 0.5


def process(
    name: str = "orders",
    kind: common_pb2.NodeType.ValueType = common_pb2.NODE_TYPE_REDUCER,
    *,
    instance: str = "",
    port: int = 50053,
    store_id: str = "",
) -> registry_pb2.RegisteredNode:
    return registry_pb2.RegisteredNode(
        node=node_pb2.NodeDescriptor(name=name, node_type=kind, version="1.0.0"),
        instance=instance,
        address=f"10.0.0.7:{port}",
        store_id=store_id,
    )


@dataclass
class Served:
    store: Store
    server: LocalServer
    registry: Registry
    mesh: Mesh

    @property
    def stub(self) -> registry_pb2_grpc.RegistryServiceStub:
        return self.mesh.stub(registry_pb2_grpc.RegistryServiceStub, "orchestrator")

    async def register(self, node: registry_pb2.RegisteredNode) -> Registering:
        """Registers, and leaves the stream open."""
        call = self.stub.RegisterNode()
        await call.write(registry_pb2.RegisterNodeRequest(node=node))
        response = await call.read()
        assert isinstance(response, registry_pb2.RegisterNodeResponse)
        return call

    async def names(self, **asked: object) -> Sequence[str]:
        request = registry_pb2.ListNodesRequest(**asked)  # type: ignore[arg-type]
        found = (await self.stub.ListNodes(request)).nodes
        return [f"{node.node.name}/{node.instance}" for node in found]

    def watch(
        self, request: registry_pb2.WatchNodesRequest | None = None
    ) -> AsyncIterator[registry_pb2.WatchNodesResponse]:
        return aiter(self.stub.WatchNodes(request or registry_pb2.WatchNodesRequest()))


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    opened = await open_store("memory:")
    yield opened
    await opened.close()


@pytest.fixture
async def served(store: Store) -> AsyncIterator[Served]:
    runtime = CallRuntime(node="orchestrator/test", telemetry=NO_TELEMETRY)
    server = LocalServer(runtime)
    registry = Registry(store, TTL)
    servicer = registry.servicer(runtime.until_draining)
    server.add(registry_pb2_grpc.add_RegistryServiceServicer_to_server, servicer)
    await registry.start()
    mesh = Mesh({"orchestrator": server})
    try:
        yield Served(store, server, registry, mesh)
    finally:
        await mesh.close()
        await server.drain(1.0)
        await registry.close()


async def pictured(watching: AsyncIterator[registry_pb2.WatchNodesResponse], *wanted: str) -> None:
    """Returns when the picture is this."""
    async with asyncio.timeout(10):
        async for picture in watching:
            if [node.node.name for node in picture.nodes] == list(wanted):
                return
    raise AssertionError("the stream ended")


async def test_a_process_is_registered_while_its_stream_is_open(served: Served) -> None:
    watching = served.watch()
    await pictured(watching)
    call = await served.register(process())
    assert await served.names() == ["orders/"]
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    # The end of the stream says that it is removed.
    assert await served.names() == []
    broken = await served.register(process())
    await pictured(watching, "orders")
    broken.cancel()
    await pictured(watching)


async def test_what_a_process_said_is_told(served: Served) -> None:
    said = process(instance="a", store_id=str(uuid.uuid4()))
    call = served.stub.RegisterNode()
    await call.write(registry_pb2.RegisterNodeRequest(node=said))
    first = await call.read()
    assert isinstance(first, registry_pb2.RegisterNodeResponse)
    picture = await anext(served.watch())
    (told,) = picture.nodes
    assert told.registered_at == first.registered_at
    assert told.registered_at.ToMicroseconds() > 0
    listed = await served.stub.ListNodes(registry_pb2.ListNodesRequest())
    assert [*listed.nodes] == [told]
    told.ClearField("registered_at")
    assert told == said
    # A further message replaces it, and it has been there since the first.
    said.address = "10.0.0.8:50053"
    await call.write(registry_pb2.RegisterNodeRequest(node=said))
    second = await call.read()
    assert isinstance(second, registry_pb2.RegisterNodeResponse)
    assert second.registered_at == first.registered_at
    (moved,) = (await served.stub.ListNodes(registry_pb2.ListNodesRequest())).nodes
    assert moved.address == "10.0.0.8:50053"
    # Under another name it is another one.
    said.instance = "b"
    await call.write(registry_pb2.RegisterNodeRequest(node=said))
    await call.read()
    assert await served.names() == ["orders/b"]
    call.cancel()


async def test_kinds_and_names_are_selected(served: Served) -> None:
    compute = common_pb2.NODE_TYPE_COMPUTE
    calls = [
        await served.register(process("orders")),
        await served.register(process("prices", compute, instance="b")),
        await served.register(process("orders", compute, instance="a")),
    ]
    assert await served.names() == ["orders/a", "prices/b", "orders/"]
    assert await served.names(node_type=compute) == ["orders/a", "prices/b"]
    assert await served.names(name="orders") == ["orders/a", "orders/"]
    asked = registry_pb2.WatchNodesRequest(node_type=compute, name="prices")
    watching = served.watch(asked)
    await pictured(watching, "prices")
    # Of what was not asked for, nothing is told.
    calls[0].cancel()
    calls[1].cancel()
    assert [*(await anext(watching)).nodes] == []
    calls[2].cancel()


async def test_processes_of_one_node_share_a_store(served: Served) -> None:
    ours, other = str(uuid.uuid4()), str(uuid.uuid4())
    first = await served.register(process(instance="a", store_id=ours))
    second = await served.register(process(instance="b", store_id=ours))
    with pytest.raises(StoreInUseError, match="another store"):
        await served.register(process(instance="c", store_id=other))
    # On SQLite both have no name; the refused one takes nothing with it.
    with pytest.raises(StoreInUseError):
        await served.register(process(instance="a", store_id=other))
    assert await served.names() == ["orders/a", "orders/b"]
    for call in (first, second):
        await call.done_writing()
        await call.read()
    free = await served.register(process(instance="c", store_id=other))
    assert await served.names() == ["orders/c"]
    free.cancel()


async def test_the_end_of_an_old_stream_removes_no_new_one(served: Served) -> None:
    old = await served.register(process())
    new = await served.register(process(port=50063))
    await old.done_writing()
    assert await old.read() is grpc.aio.EOF
    assert await served.names() == ["orders/"]
    new.cancel()


async def test_nobody_is_registered_by_a_wrong_message(served: Served) -> None:
    for wrong in (
        process("Orders"),
        process(port=0),
        process(instance="a b"),
        process(store_id="x"),
    ):
        with pytest.raises(ContractValidationError):
            await served.register(wrong)
    dated = process()
    dated.registered_at.seconds = 1
    with pytest.raises(ContractValidationError, match="registered_at"):
        await served.register(dated)
    large = process()
    large.node.operations.extend("x" * 100 for _ in range(1000))
    with pytest.raises(ContractValidationError, match="65536"):
        await served.register(large)
    assert await served.names() == []


async def test_a_stop_ends_streams_and_keeps_what_they_registered(served: Served) -> None:
    call = await served.register(process())
    watching = served.watch()
    await anext(watching)
    await served.server.drain(5.0)
    with pytest.raises(NodeUnavailableError):
        await call.read()
    with pytest.raises(NodeUnavailableError):
        await anext(watching)
    assert [entry.node for entry in (await served.store.list_nodes()).entries] == ["reducer/orders"]


def left_behind(name: str, store_id: str = "") -> NodeEntry:
    """What an earlier process has registered."""
    said = process(name, store_id=store_id)
    return NodeEntry(f"reducer/{name}", "", store_id, "", said.SerializeToString())


async def test_what_the_earlier_process_knew_stays_for_a_ttl(store: Store, served: Served) -> None:
    await store.register_node(left_behind("stays"))
    await store.register_node(left_behind("vanishes"))
    watching = served.watch()
    await pictured(watching, "stays", "vanishes")
    call = await served.register(process("stays"))
    await pictured(watching, "stays")
    call.cancel()


@pytest.mark.parametrize("instance", ["", "other"])
async def test_who_may_come_back_is_not_displaced(
    store: Store, served: Served, instance: str
) -> None:
    rightful = str(uuid.uuid4())
    await store.register_node(left_behind("orders", store_id=rightful))
    other = process(instance=instance, store_id=str(uuid.uuid4()))
    with pytest.raises(NodeUnavailableError, match="not known yet") as kept:
        await served.register(other)
    assert kept.value.retry_after
    assert await served.names() == ["orders/"]
    member = Membership(served.mesh, "the registry", other)
    member.start()
    call = await served.register(process(store_id=rightful))
    async with asyncio.timeout(10):
        assert "another store" in (await member.refused()).message
    await member.leave()
    assert await served.names() == ["orders/"]
    call.cancel()


async def test_who_does_not_come_back_gives_way(
    store: Store, served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    await store.register_node(left_behind("orders", store_id=str(uuid.uuid4())))
    other = process(instance="other", store_id=str(uuid.uuid4()))
    member = Membership(served.mesh, "the registry", other)
    member.start()
    async with asyncio.timeout(10):
        async for picture in served.watch():
            if [node.instance for node in picture.nodes] == ["other"]:
                break
    assert caplog.text.count("not registered at") == 1
    await member.leave()


async def test_an_orchestrator_with_a_new_store_waits_for_nobody(
    store: Store, served: Served
) -> None:
    kind = common_pb2.NODE_TYPE_ORCHESTRATOR
    before = process("main", kind, store_id=str(uuid.uuid4()))
    row = NodeEntry("orchestrator/main", "", before.store_id, "", before.SerializeToString())
    await store.register_node(row)
    now = process("main", kind, store_id=str(uuid.uuid4()))
    await served.registry.registrations.put(Holder(), now)
    assert [each.store_id for each in (await store.list_nodes()).entries] == [now.store_id]


async def test_a_new_stream_is_not_removed_with_the_old_one(store: Store, served: Served) -> None:
    registrations, old, new = served.registry.registrations, Holder(), Holder()
    await registrations.put(old, process())
    await asyncio.gather(registrations.drop(old), registrations.put(new, process(port=50063)))
    assert [each.node for each in (await store.list_nodes()).entries] == ["reducer/orders"]


async def test_a_member_registers_anew_and_leaves(served: Served) -> None:
    member = Membership(served.mesh, "the registry", process())
    watching = served.watch()
    member.start()
    await pictured(watching, "orders")
    # As when its connection breaks: the row goes, and it comes again.
    assert member.stream is not None
    member.stream.cancel()
    await pictured(watching)
    await pictured(watching, "orders")
    await member.leave()
    assert await served.names() == []


async def test_a_refused_member_is_told(served: Served) -> None:
    call = await served.register(process(store_id=str(uuid.uuid4())))
    member = Membership(served.mesh, "the registry", process(store_id=str(uuid.uuid4())))
    member.start()
    async with asyncio.timeout(10):
        assert "another store" in (await member.refused()).message
    await member.leave()
    assert await served.names() == ["orders/"]
    call.cancel()


async def test_an_orchestrator_is_in_its_own_registry(served: Served) -> None:
    kind = common_pb2.NODE_TYPE_ORCHESTRATOR
    member = OwnMembership(served.registry.registrations, process("main", kind))
    watching = served.watch()
    member.start()
    await pictured(watching, "main")
    await member.leave()
    assert await served.names() == []
