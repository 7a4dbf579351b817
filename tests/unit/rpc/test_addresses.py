import pytest

from onex.v1 import compute_pb2_grpc
from onex_grpc.errors import TargetNotFoundError
from onex_grpc.rpc import Mesh


async def test_bare_kind_is_the_address_of_all_nodes_without_their_own() -> None:
    mesh = Mesh({"compute": "127.0.0.1:1", "compute/prices": "127.0.0.1:2"})
    stub = compute_pb2_grpc.ComputeNodeServiceStub

    assert mesh.stub(stub, "compute/orders") is not mesh.stub(stub, "compute/prices")
    # One stub, however many names clients may think of.
    assert mesh.stub(stub, "compute/orders") is mesh.stub(stub, "compute/other")
    with pytest.raises(TargetNotFoundError, match="reducer/orders"):
        mesh.stub(stub, "reducer/orders")
    await mesh.close()


async def test_bare_kind_finds_the_only_node_of_it() -> None:
    stub = compute_pb2_grpc.ComputeNodeServiceStub
    one = Mesh({"compute/prices": "127.0.0.1:2"})
    two = Mesh({"compute/prices": "127.0.0.1:2", "compute/orders": "127.0.0.1:3"})

    one.stub(stub, "compute")
    with pytest.raises(TargetNotFoundError, match="names more than one node"):
        two.stub(stub, "compute")
    await one.close()
    await two.close()
