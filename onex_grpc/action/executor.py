"""ExecuteAction: each action once, checked, and recorded with what it changed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from google.protobuf.duration_pb2 import Duration

from onex.v1 import action_pb2, common_pb2, orchestrator_pb2
from onex_grpc.action.command import action_command, complete
from onex_grpc.action.outcome import concerns_sender, is_final
from onex_grpc.action.record import (
    checkpoint_of,
    commit_of,
    issued_us,
    other_content,
    record_of,
    replay,
)
from onex_grpc.action.rollback import Rollbacks, cancels, recorded_undone
from onex_grpc.action.state import (
    apply_action,
    fold_result,
    read_state,
    refuse_ended,
    unstarted,
)
from onex_grpc.context import CallContext, LeaseClaim, current_call, enter_call
from onex_grpc.contract.action import content_hash
from onex_grpc.errors import (
    ContractValidationError,
    EpochMismatchError,
    NodeUnavailableError,
    OnexError,
    Violation,
)
from onex_grpc.rpc.status import error_detail
from onex_grpc.store.clock import wall_clock_us
from onex_grpc.store.model import (
    ActionRecord,
    Checkpoint,
    Commit,
    Committed,
    Exact,
    LeaseGrant,
    Replayed,
    Rollback,
)
from onex_grpc.store.old_repeats import OldRepeats
from onex_grpc.store.retention import DEFAULT_RETENTION

if TYPE_CHECKING:
    from onex_grpc.action.admission import ActionAdmission
    from onex_grpc.action.routing import Router
    from onex_grpc.action.undone import ReducersOf
    from onex_grpc.store.model import RecordedAction
    from onex_grpc.store.protocol import Store
    from onex_grpc.store.retention import Retention

_FRESH_US: Final = 60 * 1_000_000
OnChanged = Callable[[str], None]
Request = orchestrator_pb2.ExecuteActionRequest
Response = orchestrator_pb2.ExecuteActionResponse


class _Running:
    """An action that is being executed; others with its id wait for its end."""

    __slots__ = ("admitted", "content", "task")

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.admitted = False
        self.task: asyncio.Task[Response]


class ActionExecutor:
    """Executes the actions of holders outside of this process, by the steps of `execute`."""

    def __init__(
        self,
        store: Store,
        admission: ActionAdmission,
        router: Router,
        *,
        retention: Retention = DEFAULT_RETENTION,
        reducers_of: ReducersOf = lambda contract: (),
        on_aborted: OnChanged = lambda workflow_id: None,
        on_rolled_back: OnChanged = lambda workflow_id: None,
    ) -> None:
        """Takes who is told of each workflow that an action has ended, or rolled back.

        `reducers_of` names the reducers that a workflow without a graph may call, `retention` is
        how long the store keeps the record of an action.
        """
        self._store = store
        self._admission = admission
        self._router = router
        self._old_repeats = OldRepeats(retention.actions_us, "actions")
        self._on_aborted = on_aborted
        self._on_rolled_back = on_rolled_back
        self._rollbacks = Rollbacks(store, router, reducers_of)
        self._running: dict[tuple[str, str], _Running] = {}
        # Writers of one workflow's state take turns: each folds into what the last one wrote.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def execute(self, request: Request) -> Response:
        """Executes an action, or returns what came of it before.

        In this order: a known id gets its recorded reply, a running one is joined; lease and fence,
        expires_at and epoch are checked; the action is executed; its reply is recorded in the
        commit of what it changed. A caller who gives up ends only the waiting.

        Raises:
            AlreadyExistsError: when the id was used for another content.
            OutcomeUnknownError: for a task so old that its record may have been removed.
            OnexError: as ActionAdmission.admit, and what the target raised.
        """
        content = content_hash(request.action)
        key = (request.workflow_id, request.action.action_id)
        while (running := self._running.get(key)) is not None:
            if running.content != content:
                raise other_content(request)
            try:
                return await _outcome(running)
            except OnexError as error:
                # What is wrong with another sender's lease says nothing about this one's.
                if running.admitted and not concerns_sender(error):
                    raise
        running = self._running[key] = _Running(content)
        running.task = asyncio.create_task(self._run(request, running))
        running.task.add_done_callback(lambda task: self._ended(key, task))
        return await _outcome(running)

    async def close(self) -> None:
        """Gives up what is being executed; a repeat finds out what came of it."""
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, key: tuple[str, str], task: asyncio.Task[Response]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            # Looked at, so that a failure that nobody waits for is not reported as lost.
            task.exception()

    async def _run(self, request: Request, running: _Running) -> Response:
        action = request.action
        known = await self._store.find_action(request.workflow_id, action.action_id)
        if known is not None:
            running.admitted = True
            return await self._repeat(request, running.content, known)
        call = _complete_ids(action)
        grant = await self._admission.admit(request)
        running.admitted = True
        record = record_of(request, grant, running.content)
        if action.action_type == action_pb2.ACTION_TYPE_DELEGATE_TASK:
            return await self._delegate(request, grant, record, call)
        if action.action_type == action_pb2.ACTION_TYPE_CHECKPOINT_STATE:
            return await self._pin(request, grant, record)
        if action.action_type == action_pb2.ACTION_TYPE_ROLLBACK_STATE:
            return await self._roll_back(request, grant, record, call)
        return await self._change(request, grant, record)

    async def _pin(self, request: Request, grant: LeaseGrant, record: ActionRecord) -> Response:
        change = checkpoint_of(request, grant, record, _done(request))
        return _settled(request, change, await self._store.checkpoint(change))

    async def _repeat(self, request: Request, content: bytes, known: RecordedAction) -> Response:
        response = replay(request, content, known)
        if not cancels(request):
            return response
        finished = await self._rollbacks.finished(request)
        if finished is not None:
            return finished
        # It was broken off between its commit and the end of its cancellations.
        call = _complete_ids(request.action)
        grant = await self._admission.admit_lease(request)
        enter_call(_under_lease(call, request, grant.epoch))
        undone = recorded_undone(known.request)
        return await self._rollbacks.cancel(request, content, undone, response)

    async def _roll_back(
        self, request: Request, grant: LeaseGrant, record: ActionRecord, call: CallContext
    ) -> Response:
        async with self._turn(request.workflow_id):
            # It names its epoch exactly, so that what is read here is what is rolled back.
            plan = await self._rollbacks.plan(request, grant, record, _done(request))
            written = await self._store.rollback(plan.change)
        if isinstance(written, Replayed):
            return await self._repeat(request, record.content_hash, written.action)
        response = _settled(request, plan.change, written)
        try:
            if not cancels(request):
                return response
            enter_call(_under_lease(call, request, written.version))
            return await self._rollbacks.cancel(request, record.content_hash, plan.undone, response)
        finally:
            self._on_rolled_back(request.workflow_id)

    async def _change(self, request: Request, grant: LeaseGrant, record: ActionRecord) -> Response:
        action = request.action
        async with self._turn(request.workflow_id):
            while True:
                state, epoch = await self._before(request)
                apply_action(state, action)
                expect = Exact(action.epoch if action.HasField("epoch") else epoch)
                ended = state.status != orchestrator_pb2.WORKFLOW_STATUS_RUNNING
                commit = commit_of(request, grant, record, state, expect, b"")
                try:
                    response = await self._write(
                        request, replace(commit, open=False if ended else None)
                    )
                    break
                except EpochMismatchError:
                    # Where it names no epoch, it goes by what the engine has written meanwhile.
                    if action.HasField("epoch"):
                        raise
        if ended:
            self._on_aborted(request.workflow_id)
        return response

    async def _before(self, request: Request) -> tuple[orchestrator_pb2.WorkflowState, int]:
        if request.action.action_type == action_pb2.ACTION_TYPE_START_WORKFLOW:
            return unstarted(), 0
        return await read_state(self._store, request.workflow_id)

    async def _delegate(
        self,
        request: Request,
        grant: LeaseGrant,
        record: ActionRecord,
        call: CallContext,
    ) -> Response:
        action = request.action
        if self._old_repeats.includes(issued_us(action)):
            raise self._old_repeats.refusal(f"action {action.action_id}", issued_us(action))
        node = self._router.resolve(action.target_node)
        state, _ = await read_state(self._store, request.workflow_id)
        refuse_ended(state)
        command = action_command(action.command_payload)
        complete(
            command,
            correlation_id=action.correlation_id,
            action_id=action.action_id,
            issued_at=action.issued_at,
        )
        basis = action.epoch if action.HasField("epoch") else grant.epoch
        enter_call(_under_lease(call, request, basis))
        started = time.perf_counter()
        try:
            result = await node(command, None)
        except OnexError as error:
            if is_final(error):
                detail = error_detail(error).SerializeToString()
                await self._store.record_failure(record, detail, grant.guard)
            raise
        elapsed = Duration()
        elapsed.FromNanoseconds(int((time.perf_counter() - started) * 1e9))
        return await self._fold(request, grant, record, result, elapsed)

    async def _fold(
        self,
        request: Request,
        grant: LeaseGrant,
        record: ActionRecord,
        result: common_pb2.Data,
        elapsed: Duration,
    ) -> Response:
        step = orchestrator_pb2.WorkflowStepResult(
            step_id=request.action.action_id,
            status=orchestrator_pb2.STEP_STATUS_COMPLETED,
            output=result,
            attempts=1,
            execution_time=elapsed,
        )
        reply = Response(
            action_id=request.action.action_id,
            status=action_pb2.ACTION_STATUS_COMPLETED,
            result=result,
        ).SerializeToString()
        async with self._turn(request.workflow_id):
            while True:
                state, epoch = await read_state(self._store, request.workflow_id)
                fold_result(state, step)
                commit = commit_of(request, grant, record, state, Exact(epoch), reply)
                with contextlib.suppress(EpochMismatchError):
                    return await self._write(request, commit)

    async def _write(self, request: Request, change: Commit) -> Response:
        if not change.reply:
            change = replace(change, reply=_done(request))
        return _settled(request, change, await self._store.commit(change))

    def _turn(self, workflow_id: str) -> asyncio.Lock:
        return self._turns.setdefault(workflow_id, asyncio.Lock())


def _done(request: Request) -> bytes:
    return Response(
        action_id=request.action.action_id, status=action_pb2.ACTION_STATUS_COMPLETED
    ).SerializeToString()


def _settled(
    request: Request, change: Commit | Checkpoint | Rollback, written: Committed | Replayed
) -> Response:
    if isinstance(written, Replayed):
        return replay(request, change.actions[0].content_hash, written.action)
    response = Response.FromString(change.reply)
    response.epoch = written.version
    return response


async def _outcome(running: _Running) -> Response:
    try:
        return await asyncio.shield(running.task)
    except asyncio.CancelledError:
        if running.task.cancelled():
            raise NodeUnavailableError(
                "the action was interrupted: its orchestrator stops; send it again",
                retry_after=1.0,
            ) from None
        raise


def _complete_ids(action: action_pb2.ModelAction) -> CallContext:
    call = current_call()
    if call is None:
        if not action.correlation_id:
            raise ContractValidationError.of(
                Violation("action.correlation_id", "is missing, and no header brings one")
            )
        return CallContext(correlation_id=action.correlation_id)
    if not action.correlation_id:
        action.correlation_id = call.correlation_id
    elif action.correlation_id != call.correlation_id:
        raise ContractValidationError.of(
            Violation("action.correlation_id", "differs from the header onex-correlation-id")
        )
    return call


def _first_sent(action: action_pb2.ModelAction) -> int:
    """Return when an action was first sent if that is no longer now; else 0, as of a first one."""
    issued = issued_us(action)
    return issued if issued < wall_clock_us() - _FRESH_US else 0


def _under_lease(call: CallContext, request: Request, basis: int) -> CallContext:
    action = request.action
    return replace(
        call,
        action_id=action.action_id,
        issued_us=_first_sent(action),
        workflow_id=request.workflow_id,
        epoch=basis,
        lease=LeaseClaim(request.workflow_id, action.lease_id, request.fence, request.lease_token),
    )
