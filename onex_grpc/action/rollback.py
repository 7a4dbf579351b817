"""ROLLBACK_STATE: back to an earlier state, and what the undone steps wished is not done."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from onex.v1 import intent_pb2, orchestrator_pb2
from onex_grpc.action.cancellation import add_to
from onex_grpc.action.ids import start_action_id
from onex_grpc.action.record import rollback_of
from onex_grpc.action.state import parse_state, read_state
from onex_grpc.action.undone import UndoneFinder
from onex_grpc.store.keys import workflow_key
from onex_grpc.store.model import IdempotencyRecord, Rollback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.action.routing import Router
    from onex_grpc.action.undone import ReducersOf, State
    from onex_grpc.store.model import ActionRecord, LeaseGrant
    from onex_grpc.store.protocol import Store

Request = orchestrator_pb2.ExecuteActionRequest
Response = orchestrator_pb2.ExecuteActionResponse
_RUNNING: Final = orchestrator_pb2.WORKFLOW_STATUS_RUNNING
_AT_ONCE: Final = 1000


class RollbackPlan(NamedTuple):
    """What is to be written, and what is to be cancelled after that."""

    change: Rollback
    undone: Sequence[orchestrator_pb2.UndoneActions]


class Rollbacks:
    """Plans rollbacks, and has the intents of what they undo cancelled."""

    def __init__(self, store: Store, router: Router, reducers_of: ReducersOf) -> None:
        self._store = store
        self._router = router
        self._undone = UndoneFinder(store, reducers_of)

    async def plan(
        self, request: Request, grant: LeaseGrant, record: ActionRecord, reply: bytes
    ) -> RollbackPlan:
        """The rollback that an action asks for.

        Raises:
            HistoryNotFoundError: when what it goes back to is not kept.
            TargetNotFoundError: when the mesh lacks a reducer that an undone step called.
        """
        workflow_id = request.workflow_id
        # The commit checks that this is the epoch which the action names.
        left, _ = await read_state(self._store, workflow_id)
        change = rollback_of(request, grant, record, reply)
        old = await self._store.get_state_at(workflow_key(workflow_id), change.to)
        target = parse_state(workflow_id, old)
        undone: Sequence[orchestrator_pb2.UndoneActions] = ()
        if cancels(request):
            undone = await self._undone.find(workflow_id, left, target)
            for each in undone:
                self._router.queue(each.target_node)
            kept = orchestrator_pb2.RollbackRecord(action=request.action, undone=undone)
            recorded = replace(record, request=kept.SerializeToString())
            change = replace(change, actions=(recorded,))
        # Each rollback starts from the highest run so far, so that no run comes twice.
        target.run = left.run + 1
        change = replace(
            change,
            rewritten=target.SerializeToString(),
            open=await self._stays_open(workflow_id, target),
        )
        return RollbackPlan(change, undone)

    async def finished(self, request: Request) -> Response | None:
        """The reply of a rollback whose cancellations are all done."""
        recorded = await self._store.find_outcome(_name(request))
        return None if recorded is None else Response.FromString(recorded.reply)

    async def cancel(
        self,
        request: Request,
        content: bytes,
        undone: Sequence[orchestrator_pb2.UndoneActions],
        response: Response,
    ) -> Response:
        """Asks all reducers of the undone actions, and completes the reply, which is then recorded.

        The current call's lease goes with it.

        Raises:
            OnexError: what kept a reducer from cancelling; the others have done so.
        """
        told = await asyncio.gather(*map(self._cancel_at, undone), return_exceptions=True)
        for each in told:
            if isinstance(each, BaseException):
                raise each
            _add(response.cancellation, each)
        response.cancellation.SetInParent()
        done = IdempotencyRecord(content, response.SerializeToString())
        await self._store.record_outcome(_name(request), done)
        return response

    async def _cancel_at(
        self, undone: orchestrator_pb2.UndoneActions
    ) -> intent_pb2.IntentCancellation:
        queue = self._router.queue(undone.target_node)
        told = intent_pb2.IntentCancellation()
        for start in range(0, len(undone.action_ids), _AT_ONCE):
            some = undone.action_ids[start : start + _AT_ONCE]
            named = intent_pb2.CancelIntentsRequest(action_ids=some)
            _add(told, (await queue.CancelIntents(named)).cancellation)
        return told

    async def _stays_open(self, workflow_id: str, target: State) -> bool | None:
        if target.status != _RUNNING:
            return False
        # One that a holder outside of this orchestrator coordinates is none of its open work.
        begun = await self._store.find_action(workflow_id, start_action_id(workflow_id))
        return None if begun is None else True


def cancels(request: Request) -> bool:
    """Whether an action is a rollback that cancels intents."""
    return request.action.command_payload.rollback.cancel_intents


def recorded_undone(recorded: bytes) -> Sequence[orchestrator_pb2.UndoneActions]:
    """What a recorded rollback has undone, from the request that is kept of it."""
    return orchestrator_pb2.RollbackRecord.FromString(recorded).undone


def _add(total: intent_pb2.IntentCancellation, further: intent_pb2.IntentCancellation) -> None:
    add_to(total, further.cancelled, further.kept, further.kept_intents)


def _name(request: Request) -> str:
    return f"rollback/{request.workflow_id}/{request.action.action_id}"
