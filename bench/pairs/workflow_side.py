"""A side's client of workflows: of the four processes, and of four nodes in this one.

`python -m bench.pairs.workflow_side STATE ADDRESS`, with a folder for the nodes in this process and
the address of the orchestrator. Figures are `PLACE/WORKFLOW`.
"""

from __future__ import annotations

import logging
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from bench.nodes import NODES
from bench.pairs.marks import answer_marks
from bench.workflow_load import WORKFLOWS, run_workflow
from onex.v1 import orchestrator_pb2_grpc
from onex_grpc.rpc import Mesh
from onex_grpc.testing.mesh import LocalMesh

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def main(state: Path, address: str) -> None:
    """Answer until the pipe is closed."""
    async with AsyncExitStack() as stack:
        mesh = Mesh({"orchestrator": address})
        stack.push_async_callback(mesh.close)
        local = await stack.enter_async_context(LocalMesh(list(NODES.values()), state=state))
        service = orchestrator_pb2_grpc.OrchestratorNodeServiceStub
        stubs = {
            "processes": mesh.stub(service, "orchestrator"),
            "inprocess": local.stub(service, "orchestrator"),
        }

        async def find(figure: str) -> Callable[[int], Awaitable[object]]:
            place, kind = figure.split("/")
            call = run_workflow(stubs[place], WORKFLOWS[kind])
            return lambda _: call()

        await answer_marks(find)


if __name__ == "__main__":
    # Its effect node has nothing to do, and says so.
    logging.disable(logging.WARNING)
    uvloop.run(main(Path(sys.argv[1]), sys.argv[2]))
