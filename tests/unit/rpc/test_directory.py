"""From the picture of a registry to where calls go."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from onex.v1 import common_pb2, compute_pb2, compute_pb2_grpc, node_pb2, registry_pb2
from onex_grpc.errors import (
    CallCancelledError,
    DeadlineExceededError,
    NodeUnavailableError,
    TargetNotFoundError,
)
from onex_grpc.rpc import Mesh
from onex_grpc.rpc import directory as directory_module
from onex_grpc.rpc.directory import Directory
from onex_grpc.rpc.places import Places

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPUTE = compute_pb2_grpc.ComputeNodeServiceStub
DEFAULTS = {"compute": "127.0.0.1:50052"}


def nodes(**addresses: str) -> Sequence[registry_pb2.RegisteredNode]:
    """Compute nodes by their names; several addresses have commas between them."""
    kind = common_pb2.NODE_TYPE_COMPUTE
    return [
        registry_pb2.RegisteredNode(
            node=node_pb2.NodeDescriptor(name=name, node_type=kind), address=address
        )
        for name, several in addresses.items()
        for address in several.split(",")
    ]


async def test_targets_are_found_by_name_and_only_nodes_by_kind() -> None:
    directory = Directory("the registry")
    assert directory.find("compute/a") == ""
    await directory.take(nodes(a="10.0.0.7:1"))
    assert directory.find("compute/a") == directory.find("compute") == "10.0.0.7:1"
    assert directory.find("compute/b") == directory.find("reducer") == ""
    await directory.take(nodes(a="10.0.0.7:1", b="10.0.0.7:2"))
    with pytest.raises(TargetNotFoundError, match="compute/a, compute/b"):
        directory.find("compute")


@pytest.mark.parametrize(
    ("several", "place"),
    [
        ("10.0.0.8:1,10.0.0.7:1", "10.0.0.7:1,10.0.0.8:1"),
        ("10.0.0.7:1,10.0.0.7:1", "10.0.0.7:1"),
        ("[::2]:1,[::3]:2", "[::2]:1,[::3]:2"),
        ("localhost:1,10.0.0.7:1", "10.0.0.7:1,127.0.0.1:1"),
        # A channel has addresses of one version; names that nobody knows are left out.
        ("[::2]:1,10.0.0.7:1", "10.0.0.7:1"),
        ("nobody.invalid:1,10.0.0.7:1", "10.0.0.7:1"),
        # Nor do those that are no names keep others from being found.
        ("a..b:1,10.0.0.7:1", "10.0.0.7:1"),
        (f"{'x' * 70}:1,10.0.0.7:1", "10.0.0.7:1"),
        ("a-name:1", "a-name:1"),
    ],
)
async def test_several_processes_are_one_place(several: str, place: str) -> None:
    directory = Directory("the registry")
    await directory.take(nodes(a=several))
    assert directory.find("compute/a") == place


async def test_default_ports_are_for_nodes_that_never_registered() -> None:
    directory = Directory("the registry")
    places = Places(directory, DEFAULTS, directory.find)
    directory.lose()
    assert await places.find("compute/a", wait=False) == DEFAULTS["compute"]
    await directory.take(nodes(a="10.0.0.7:1"))
    assert places.of("compute/a") == "10.0.0.7:1"
    assert places.of("compute/b") == DEFAULTS["compute"]
    # Where somebody else is registered, nobody else is.
    await directory.take(nodes(c=DEFAULTS["compute"]))
    assert places.of("compute/b") == ""
    with pytest.raises(TargetNotFoundError, match=r"never registered at the registry.*compute/c"):
        places.require("compute/b")
    with pytest.raises(NodeUnavailableError, match="has left the registry"):
        places.require("compute/a")


async def test_addresses_go_before_the_registry() -> None:
    directory = Directory("the registry")
    await directory.take(nodes(a="127.0.0.1:2", b="127.0.0.1:3"))
    mesh = Mesh({"compute/a": "127.0.0.1:1"}, registry=directory, defaults=DEFAULTS)
    mesh.require("compute/a")
    with pytest.raises(NodeUnavailableError) as first:
        await mesh.stub(COMPUTE, "compute/a").ExecuteCompute(compute_pb2.ModelContractCompute())
    with pytest.raises(NodeUnavailableError) as second:
        await mesh.stub(COMPUTE, "compute/b").ExecuteCompute(compute_pb2.ModelContractCompute())
    assert first.value.context["address"] == "127.0.0.1:1"
    assert second.value.context["address"] == "127.0.0.1:3"
    with pytest.raises(TargetNotFoundError, match="martian"):
        mesh.stub(COMPUTE, "martian")
    await mesh.close()


async def test_one_stub_follows_its_target() -> None:
    directory = Directory("the registry")
    mesh = Mesh(registry=directory)
    stub = mesh.stub(COMPUTE, "compute/a")
    contract = compute_pb2.ModelContractCompute()
    calling = asyncio.ensure_future(stub.ExecuteCompute(contract))
    # The first call waits for the first picture.
    await directory.take(nodes(a="127.0.0.1:1"))
    with pytest.raises(NodeUnavailableError, match=r"127.0.0.1:1 cannot be reached"):
        await calling
    await directory.take(nodes(a="127.0.0.1:2"))
    with pytest.raises(NodeUnavailableError, match=r"127.0.0.1:2 cannot be reached"):
        await stub.ExecuteCompute(contract)
    await directory.take([])
    with pytest.raises(NodeUnavailableError, match="has left the registry"):
        await stub.ExecuteCompute(contract)
    with pytest.raises(DeadlineExceededError):
        await stub.ExecuteCompute(contract, timeout=0.05, wait_for_ready=True)
    await mesh.close()
    with pytest.raises(NodeUnavailableError, match="closed"):
        await stub.ExecuteCompute(contract)


async def test_a_stream_waits_for_the_first_picture_too() -> None:
    directory = Directory("the registry")
    mesh = Mesh(registry=directory)
    stub = mesh.stub(COMPUTE, "compute/a")
    call = stub.ExecuteComputeStream()
    reading = asyncio.ensure_future(call.read())
    await directory.take(nodes(a="127.0.0.1:1"))
    with pytest.raises(NodeUnavailableError, match=r"127.0.0.1:1 cannot be reached"):
        await reading
    gone = mesh.stub(COMPUTE, "compute/b").ExecuteComputeStream()
    with pytest.raises(TargetNotFoundError, match="compute/b"):
        await gone.read()
    assert (await gone.code()).name == "NOT_FOUND"
    never = Mesh(registry=Directory("another registry")).stub(COMPUTE, "compute/b")
    given_up = never.ExecuteComputeStream()
    assert given_up.cancel()
    assert (await given_up.code()).name == "CANCELLED"
    with pytest.raises(CallCancelledError):
        await given_up.read()
    await mesh.close()


async def test_what_clients_ask_for_does_not_pile_up() -> None:
    directory = Directory("the registry")
    await directory.take(nodes(a="127.0.0.1:1"))
    mesh = Mesh(registry=directory, defaults=DEFAULTS)
    kept = mesh.stub(COMPUTE, "compute/a")
    for number in range(2500):
        mesh.stub(COMPUTE, f"compute/made-up-{number}")
    assert len(mesh._links) <= 1000
    # Who kept a stub goes on with it.
    await directory.take(nodes(a="127.0.0.1:2"))
    with pytest.raises(NodeUnavailableError, match=r"127.0.0.1:2 cannot be reached"):
        await kept.ExecuteCompute(compute_pb2.ModelContractCompute())
    await mesh.close()


async def test_a_fluttering_node_leaves_no_channels_behind() -> None:
    directory = Directory("the registry")
    mesh = Mesh(registry=directory)
    stub = mesh.stub(COMPUTE, "compute/a")
    for number in range(1, 6):
        await directory.take(nodes(a=f"127.0.0.1:{number}"))
        with pytest.raises(NodeUnavailableError):
            await stub.ExecuteCompute(compute_pb2.ModelContractCompute())
    retired = mesh._links["compute/a"]._retired
    assert len(retired._lines) == 4
    async with asyncio.timeout(10):
        await asyncio.gather(*retired._lines)
    assert not retired._lines
    await mesh.close()


async def test_a_closed_mesh_lets_nobody_wait() -> None:
    directory = Directory("the registry")
    await directory.take([])
    mesh = Mesh(registry=directory)
    stub, contract = mesh.stub(COMPUTE, "compute/a"), compute_pb2.ModelContractCompute()
    calling = asyncio.ensure_future(stub.ExecuteCompute(contract, wait_for_ready=True))
    reading = asyncio.ensure_future(stub.ExecuteComputeStream(wait_for_ready=True).read())
    first = Mesh(registry=Directory("another registry"))
    asking = asyncio.ensure_future(first.stub(COMPUTE, "compute/a").ExecuteCompute(contract))
    await asyncio.sleep(0)
    await mesh.close()
    await first.close()
    for waiting in (calling, reading, asking):
        with pytest.raises(CallCancelledError, match="closing of the mesh"):
            async with asyncio.timeout(1):
                await waiting


def drop(meshes: list[Mesh]) -> None:
    meshes.clear()
    gc.collect()


async def test_a_dropped_mesh_is_told_of() -> None:
    meshes = [Mesh(registry="127.0.0.1:1")]
    meshes[0].stub(COMPUTE, "compute/a")
    (following,) = (t for t in asyncio.all_tasks() if t.get_name() == "follower of the registry")
    with pytest.warns(ResourceWarning, match=r"registry at 127.0.0.1:1.*close"):
        drop(meshes)
    # And what it followed with has ended.
    async with asyncio.timeout(5):
        await asyncio.wait((following,))


async def test_a_name_that_resolves_slowly_delays_nobody_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(*asked: object, **how: object) -> list[object]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    monkeypatch.setattr(directory_module, "_RESOLVE_SECONDS", 0.1)
    directory = Directory("the registry")
    slow = [f"slow-{number}.invalid:1" for number in range(100)]
    async with asyncio.timeout(2):
        await directory.take(nodes(a=",".join([*slow, "10.0.0.7:1"]), b="10.0.0.7:2,10.0.0.8:2"))
    assert directory.find("compute/a") == "10.0.0.7:1"
    assert directory.find("compute/b") == "10.0.0.7:2,10.0.0.8:2"
