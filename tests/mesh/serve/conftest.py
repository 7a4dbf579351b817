from pathlib import Path

import pytest

NODES = '''
import asyncio

from onex.v1 import node_pb2
from onex_grpc.node.compute import NodeCompute


class Waiting(NodeCompute):
    """Waits as long as it is told to."""

    descriptor = node_pb2.NodeDescriptor(name="waiting", version="1.2.0")

    def register_algorithms(self, registry):
        registry.register("wait", wait)

    async def dependencies(self):
        return {"weather": True}


class Nameless(NodeCompute):
    pass


async def wait(data):
    print("handler runs", flush=True)
    await asyncio.sleep(data.parameters["seconds"])
    return "waited"
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with her nodes in it."""
    (tmp_path / "mynodes.py").write_text(NODES)
    return tmp_path
