"""How a process comes by the lease over a workflow: to begin it, or to go on with it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, NamedTuple

from onex.v1 import orchestrator_pb2
from onex_grpc.action.ids import start_action_id
from onex_grpc.action.state import read_state
from onex_grpc.errors import AlreadyExistsError, EpochMismatchError, LeaseConflictError
from onex_grpc.lease.clock import holder_clock
from onex_grpc.store.keys import workflow_key
from onex_grpc.store.model import LeaseGrant, LeaseRequest, Replayed
from onex_grpc.workflow.facts import Workflow, initial_state, other_workflow, start_commit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.model import PendingStep
    from onex_grpc.store.protocol import Store
    from onex_grpc.workflow.active import Active
    from onex_grpc.workflow.instances import Instances


class Tenure(NamedTuple):
    """A lease over a workflow, and where the workflow stood when it was granted."""

    lease: LeaseGrant
    sent_at: float
    state: orchestrator_pb2.WorkflowState
    epoch: int
    pending: Sequence[PendingStep] = ()
    """The steps that were under way, as far as that was recorded."""
    maybe_sent_us: int | None = None
    """Since when an earlier holder may have sent steps without a record; None for the first one."""


class Ended(NamedTuple):
    """The last state of a workflow, with its epoch and the lease under which it was written."""

    state: orchestrator_pb2.WorkflowState
    lease_id: str
    epoch: int


class Tenures:
    """Acquires the leases under which an orchestrator runs its workflows."""

    def __init__(self, store: Store, instances: Instances, ttl: float) -> None:
        """Takes the ttl of the leases, in seconds."""
        self._store = store
        self._instances = instances
        self._ttl_us = round(ttl * 1e6)

    async def begin(self, workflow: Workflow, active: Active) -> Tenure | None:
        """The first lease over a workflow, which is recorded as begun; None for one that was begun
        before.

        Raises:
            AlreadyExistsError: when the workflow id was used for another content.
            LeaseConflictError: when somebody else coordinates it.
        """
        state = initial_state(workflow)
        sent_at = holder_clock()
        request = self._request(workflow.workflow_id, take_over_own=False)
        try:
            started = await self._store.acquire_and_start(request, start_commit(workflow, state))
        except LeaseConflictError as conflict:
            self._note_held(active, conflict)
            raise
        except (AlreadyExistsError, EpochMismatchError):
            # The store speaks of the action that begins it, which no caller knows; or a holder of
            # the lease began it by START_WORKFLOW, so that it is at another epoch than 0 for ever.
            raise other_workflow(workflow.workflow_id) from None
        if isinstance(started, Replayed):
            return None
        return Tenure(started.lease, sent_at, state, started.version)

    async def take_up(self, workflow: Workflow, active: Active) -> Tenure | Ended:
        """A new lease over a workflow that was begun before, or how it has ended.

        Raises:
            LeaseConflictError: when somebody else coordinates it.
        """
        workflow_id = workflow.workflow_id
        state, epoch = await read_state(self._store, workflow_id)
        if state.status != orchestrator_pb2.WORKFLOW_STATUS_RUNNING:
            return await self._ended(workflow_id, state, epoch)
        sent_at = holder_clock()
        try:
            lease = await self._instances.acquire(self._request(workflow_id, take_over_own=True))
        except LeaseConflictError as conflict:
            self._note_held(active, conflict)
            raise
        # Read again: until the new fence was in force, the former holder could still write.
        state, epoch = await read_state(self._store, workflow_id)
        if state.status != orchestrator_pb2.WORKFLOW_STATUS_RUNNING:
            await self._store.release_lease(lease.guard)
            return await self._ended(workflow_id, state, epoch)
        pending = await self._store.list_pending(workflow_id)
        (last,) = await self._store.list_history(workflow_key(workflow_id), epoch - 1, 1)
        return Tenure(lease, sent_at, state, epoch, pending, last.written_us)

    async def is_known(self, workflow_id: str) -> bool:
        """Return True for a workflow that was begun by this node."""
        return await self._store.find_action(workflow_id, start_action_id(workflow_id)) is not None

    async def _ended(
        self, workflow_id: str, state: orchestrator_pb2.WorkflowState, epoch: int
    ) -> Ended:
        # Not the last lease: whoever came to go on with it may have taken one after its end.
        (last,) = await self._store.list_history(workflow_key(workflow_id), epoch - 1, 1)
        return Ended(state, last.lease_id, epoch)

    def _note_held(self, active: Active, conflict: LeaseConflictError) -> None:
        if self._instances.is_other(conflict.context.get("holder", "")):
            active.held = conflict

    def _request(self, workflow_id: str, *, take_over_own: bool) -> LeaseRequest:
        return LeaseRequest(
            workflow_id=workflow_id,
            holder=self._instances.holder,
            ttl_us=self._ttl_us,
            request_id=str(uuid.uuid4()),
            take_over_own=take_over_own,
        )
