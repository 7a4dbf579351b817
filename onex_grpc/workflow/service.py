"""WorkflowService over an orchestrator's store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex.v1 import orchestrator_pb2, orchestrator_pb2_grpc
from onex_grpc.action.state import read_state
from onex_grpc.errors import WorkflowNotFoundError

if TYPE_CHECKING:
    from onex_grpc.store.protocol import StateStore


class WorkflowServicer(orchestrator_pb2_grpc.WorkflowServiceServicer):
    """Reads the durable states of workflows."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def GetWorkflow(
        self, request: orchestrator_pb2.GetWorkflowRequest, context: object
    ) -> orchestrator_pb2.GetWorkflowResponse:
        """Raises WorkflowNotFoundError where nothing was ever written."""
        state, epoch = await read_state(self._store, request.workflow_id)
        if not epoch:
            raise WorkflowNotFoundError(
                f"there is no workflow {request.workflow_id}",
                context={"workflow_id": request.workflow_id},
            )
        return orchestrator_pb2.GetWorkflowResponse(state=state, epoch=epoch)
