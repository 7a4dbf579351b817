"""WorkflowService over an orchestrator's store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex.v1 import orchestrator_pb2, orchestrator_pb2_grpc
from onex_grpc.action.audit import action_message, ended_leases, page_position
from onex_grpc.action.state import read_state
from onex_grpc.store.history_message import entry_message, stream_history
from onex_grpc.store.keys import workflow_key
from onex_grpc.workflow.pending_message import pending_steps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from onex_grpc.store.protocol import Store

_PAGE: Final = 100


class WorkflowServicer(orchestrator_pb2_grpc.WorkflowServiceServicer):
    """Reads the durable states of workflows, past ones among them, and their actions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def GetWorkflow(
        self, request: orchestrator_pb2.GetWorkflowRequest, context: object
    ) -> orchestrator_pb2.GetWorkflowResponse:
        """Return the durable state; raises WorkflowNotFoundError where nothing was started."""
        state, epoch = await read_state(self._store, request.workflow_id)
        pending = await pending_steps(self._store, request.workflow_id, state)
        return orchestrator_pb2.GetWorkflowResponse(state=state, epoch=epoch, pending_steps=pending)

    async def ListHistory(
        self, request: orchestrator_pb2.ListWorkflowHistoryRequest, context: object
    ) -> AsyncIterator[orchestrator_pb2.ListWorkflowHistoryResponse]:
        """Stream the kept states of a workflow; none where it is unknown."""
        ended = await ended_leases(self._store, request.workflow_id)
        key = workflow_key(request.workflow_id)
        async for entry in stream_history(self._store, key, request.after_epoch):
            yield orchestrator_pb2.ListWorkflowHistoryResponse(
                entry=entry_message(entry, entry.lease_id if entry.fence <= ended else "")
            )

    async def ListActions(
        self, request: orchestrator_pb2.ListActionsRequest, context: object
    ) -> orchestrator_pb2.ListActionsResponse:
        """Return a page of the audit trail, oldest first; an empty one for an unknown workflow."""
        size = request.page_size or _PAGE
        after = page_position(request.page_token)
        ended = await ended_leases(self._store, request.workflow_id)
        rows = await self._store.list_actions(request.workflow_id, after, size + 1)
        page = rows[:size]
        return orchestrator_pb2.ListActionsResponse(
            actions=[action_message(row, ended) for row in page],
            next_page_token=str(page[-1].sequence) if len(rows) > size else "",
        )
