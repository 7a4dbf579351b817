"""What is refused when a typed node is made, and what a typed node says of itself."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from lab.v1 import numbers_onex, numbers_pb2, post_onex
from lab.v1.numbers_onex import NUMBERS, NumbersCompute

from onex.v1 import common_pb2, node_pb2, node_pb2_grpc, options_pb2
from onex_grpc import typed
from onex_grpc.errors import ConfigurationError, TargetNotFoundError
from onex_grpc.rpc import Mesh
from onex_grpc.serve.health_client import list_health
from onex_grpc.serve.host import named
from onex_grpc.testing.mesh import LocalMesh
from onex_grpc.typed.contract import Contract
from tests.mesh.typed.lab_nodes import Numbers, Post
from tests.mesh.typed.lab_serving import serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from pathlib import Path


def test_modules_of_another_level_are_refused() -> None:
    typed.require_api(typed.API_LEVEL, source="shop/v1/x.proto")
    with pytest.raises(ConfigurationError, match=r"run `onex generate shop/v1/x.proto --out DIR`"):
        typed.require_api(0, source="shop/v1/x.proto")
    with pytest.raises(ConfigurationError, match="install the onex-grpc that it was"):
        typed.require_api(2, source="shop/v1/x.proto")


@pytest.mark.parametrize("name", typed.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(typed, name) is not None
    assert name in dir(typed)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        typed.Nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_a_compute_node_loads_nothing_of_the_other_kinds() -> None:
    script = (
        "import sys, lab.v1.numbers_onex\n"
        "parts = ('reducer', 'workflow', 'effect', 'store', 'node.reducer', 'typed.effect')\n"
        "print([p for p in parts if f'onex_grpc.{p}' in sys.modules])"
    )
    path = {"PYTHONPATH": ":".join(sys.path)}
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=path
    )
    assert found.stdout.strip() == "[]"


def test_the_descriptor_is_that_of_the_contract() -> None:
    descriptor = Numbers.descriptor
    assert (descriptor.name, descriptor.version) == ("numbers", "1.2.0")
    assert descriptor.contract.service == "lab.v1.NumbersService"
    assert descriptor.contract.fingerprint == NUMBERS.fingerprint
    renamed = named(Numbers, "others").descriptor
    assert (renamed.name, renamed.contract) == ("others", descriptor.contract)


def test_a_stale_module_is_refused() -> None:
    stale = replace(NUMBERS, fingerprint="1.2.0:000000000000")
    with pytest.raises(ConfigurationError, match=r"run `onex generate lab/v1/numbers\.proto"):

        class _Stale(typed.TypedCompute):
            contract = stale


def test_a_service_that_is_gone_is_refused() -> None:
    gone = replace(NUMBERS, service="lab.v1.GoneService")
    with pytest.raises(ConfigurationError, match=r"run `onex generate lab/v1/numbers\.proto"):

        class _Gone(typed.TypedCompute):
            contract = gone


def test_a_contract_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="_Wrong is a compute, and its contract"):

        class _Wrong(typed.TypedCompute):
            contract = post_onex.POST


def test_missing_methods_are_named() -> None:
    class Half(NumbersCompute):
        def add(self, request: numbers_pb2.AddRequest) -> numbers_pb2.AddResponse:
            return numbers_pb2.AddResponse()

    with pytest.raises(ConfigurationError, match="Half lacks count, grind, roll, running, total"):
        LocalMesh([Half])


def test_async_where_a_plain_def_is_meant_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"_Async.add must be a plain `def` that returns"):

        class _Async(NumbersCompute):
            async def add(  # type: ignore[override]
                self, request: numbers_pb2.AddRequest
            ) -> numbers_pb2.AddResponse:
                return numbers_pb2.AddResponse()

    with pytest.raises(ConfigurationError, match="count must be a plain `def` that yields"):

        class _AsyncStream(NumbersCompute):
            async def count(  # type: ignore[override]
                self, request: numbers_pb2.CountRequest
            ) -> AsyncIterator[numbers_pb2.CountResponse]:
                yield numbers_pb2.CountResponse()


def test_a_plain_def_where_async_is_meant_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="send must be an `async def` that returns"):

        class _Plain(post_onex.PostEffect):
            def send(self, request, call):  # type: ignore[no-untyped-def]
                return None

    with pytest.raises(ConfigurationError, match="follow must be an `async def` that yields"):

        class _Awaited(post_onex.PostEffect):
            async def follow(self, request, call):  # type: ignore[no-untyped-def,override]
                return []

    with pytest.raises(ConfigurationError, match="running must be an `async def` that yields"):

        class _Generator(NumbersCompute):
            def running(  # type: ignore[override]
                self, requests: AsyncIterator[numbers_pb2.RunningRequest]
            ) -> Iterator[numbers_pb2.RunningResponse]:
                yield numbers_pb2.RunningResponse()


def test_methods_that_another_base_writes_are_looked_at_too() -> None:
    class Mixin:
        async def add(self, request: numbers_pb2.AddRequest) -> numbers_pb2.AddResponse:
            return numbers_pb2.AddResponse()

    with pytest.raises(ConfigurationError, match=r"_Mixed.add must be a plain `def` that returns"):

        class _Mixed(Mixin, NumbersCompute):  # type: ignore[misc]
            pass


def test_decorated_methods_and_iterators_of_others_fit() -> None:
    class _Handing(NumbersCompute):
        def count(self, request: numbers_pb2.CountRequest) -> Iterator[numbers_pb2.CountResponse]:
            return iter([numbers_pb2.CountResponse()])

        def running(
            self, requests: AsyncIterator[numbers_pb2.RunningRequest]
        ) -> AsyncGenerator[numbers_pb2.RunningResponse, None]:
            return _sums(requests)


async def _sums(
    requests: AsyncIterator[numbers_pb2.RunningRequest],
) -> AsyncGenerator[numbers_pb2.RunningResponse, None]:
    async for _ in requests:
        yield numbers_pb2.RunningResponse()


def test_a_class_without_a_contract_is_no_node() -> None:
    class Bare(typed.TypedCompute):
        pass

    with pytest.raises(ConfigurationError, match="Bare has no descriptor"):
        LocalMesh([Bare])


async def test_a_typed_node_describes_itself(tmp_path: Path) -> None:
    async with serving(Post, tmp_path) as served:
        stub = served.mesh.stub(node_pb2_grpc.NodeServiceStub, "effect")
        node = (await stub.DescribeNode(node_pb2.DescribeNodeRequest())).node
    assert node.contract.service == "lab.v1.PostService"
    assert node.node_type == common_pb2.NODE_TYPE_EFFECT
    assert "lab.v1.PostService/Chat" in node.operations
    assert {"lab.v1.PostService", "onex.v1.EffectNodeService"} <= set(node.services)


async def test_health_and_reflection_know_the_service(tmp_path: Path) -> None:
    async with serving(Numbers, tmp_path) as served:
        health = await list_health(served.address, None, 5.0)
        names, options = await asyncio.to_thread(_reflected, served.address)
    assert health["lab.v1.NumbersService"] == "SERVING"
    assert "lab.v1.NumbersService" in names
    assert options.version == "1.2.0"


def _reflected(address: str) -> tuple[list[str], options_pb2.NodeOptions]:
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        names = list(database.get_services())
        file = database.FindFileContainingSymbol("lab.v1.NumbersService")
        return names, file.service[0].options.Extensions[options_pb2.node]


async def test_clients_by_the_local_mesh_and_by_name() -> None:
    async with LocalMesh([Numbers, Post]) as mesh:
        client = numbers_onex.NumbersClient(mesh.mesh)
        assert (await client.add(numbers_pb2.AddRequest(left=1))).sum == 1
        counted = client.count(numbers_pb2.CountRequest(upto=2))
        assert [each.number async for each in counted] == [1, 2]
        numbers = [numbers_pb2.TotalRequest(number=n) for n in (1, 2)]
        assert (await client.total(numbers)).sum == 3
        other = numbers_onex.NumbersClient(mesh.mesh, "compute/numbers")
        running = other.running(numbers_pb2.RunningRequest(number=n) for n in (1, 2))
        assert [each.sum async for each in running] == [1, 3]


async def test_a_client_of_an_unknown_node_is_refused() -> None:
    mesh = Mesh({"effect": "127.0.0.1:1"})
    with pytest.raises(TargetNotFoundError, match="compute/numbers"):
        numbers_onex.NumbersClient(mesh)
    await mesh.close()


def test_contracts_are_what_the_proto_says() -> None:
    assert isinstance(NUMBERS, Contract)
    rpcs = {rpc.name: rpc for rpc in NUMBERS.rpcs}
    assert rpcs["Grind"].timeout == 0.3
    assert rpcs["Running"].path == "/lab.v1.NumbersService/Running"
