"""One mesh for all tests of bad input; after each of them it is still whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from onex.v1 import node_pb2
from tests.mesh.bad_input.served import Served, serve_mesh

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve_mesh(tmp_path_factory.mktemp("mesh")) as served:
        yield served


@pytest.fixture(autouse=True)
def no_fault_and_all_up(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "mesh" not in request.fixturenames:
        return
    served: Served = request.getfixturevalue("mesh")
    assert not served.faults()
    about = node_pb2.GetNodeHealthRequest().SerializeToString()
    for channel in served.channels.values():
        channel.unary_unary("/onex.v1.NodeService/GetNodeHealth", bytes, bytes)(about, timeout=5)
