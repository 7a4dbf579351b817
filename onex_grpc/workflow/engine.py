"""Runs workflows: begins each once, joins who asks again, goes on after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from onex.v1 import orchestrator_pb2
from onex_grpc.action.state import read_state
from onex_grpc.context import CallContext, current_call, enter_call
from onex_grpc.errors import (
    AlreadyExistsError,
    EpochMismatchError,
    LeaseConflictError,
    NodeUnavailableError,
    OnexError,
    StateConsistencyError,
    UnavailableError,
    WorkflowNotFoundError,
)
from onex_grpc.lease.clock import holder_clock
from onex_grpc.store.model import LeaseGrant, LeaseRequest, Replayed
from onex_grpc.workflow.answers import Answers
from onex_grpc.workflow.facts import (
    Workflow,
    initial_state,
    other_workflow,
    recorded_contract,
    start_action_id,
    start_commit,
    workflow_content,
)
from onex_grpc.workflow.graph import GraphCourse
from onex_grpc.workflow.imperative import ImperativeCourse
from onex_grpc.workflow.instances import Instances
from onex_grpc.workflow.output import make_output, refuse_cancelled
from onex_grpc.workflow.plan import Planner
from onex_grpc.workflow.recovery import Recovery
from onex_grpc.workflow.step import LOST
from onex_grpc.workflow.term import Term

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from onex.v1 import common_pb2
    from onex_grpc.action.routing import Router
    from onex_grpc.lease.keeper import HeldLease, LeaseKeeper
    from onex_grpc.store.protocol import Store
    from onex_grpc.telemetry import Telemetry
    from onex_grpc.workflow.course import Course
    from onex_grpc.workflow.handlers import WorkflowHandlers

_log = logging.getLogger(__name__)

Output = orchestrator_pb2.ModelOrchestratorOutput
# A lease that is lost again and again without any progress is not taken up for ever.
_MOST_FRUITLESS_TERMS: Final = 3
_MOST_RESUMING: Final = 64
# What ends a term: the lease is lost, or an action under it has changed what the term builds on.
_ENDS_TERM: Final = (*LOST, EpochMismatchError, StateConsistencyError)


class _Active:
    """A workflow that this process is running."""

    __slots__ = (
        *("aborted", "answers", "content", "correlation_id", "held", "in_term", "over", "task"),
    )

    def __init__(self, content: bytes) -> None:
        self.content = content
        """Empty until a workflow that is being resumed has been read."""
        self.answers = Answers()
        self.correlation_id = ""
        """Of a workflow that was resumed; that of another one's call is the current one."""
        self.aborted = False
        self.in_term = False
        """Whether it is being worked on, and not between two leases."""
        self.held: LeaseConflictError | None = None
        """Why it does not run here: another instance is working on it."""
        self.over = False
        """Whether its end is recorded, be it an error."""
        self.task: asyncio.Task[Output]


class _Tenure(NamedTuple):
    """A lease over a workflow, and where the workflow stood when it was granted."""

    lease: LeaseGrant
    sent_at: float
    state: orchestrator_pb2.WorkflowState
    epoch: int


class WorkflowEngine:
    """Runs the workflows of one orchestrator, each in one task.

    Whoever asks for a workflow waits for its task; that somebody stops waiting changes nothing for
    the workflow.
    """

    def __init__(
        self,
        *,
        store: Store,
        router: Router,
        keeper: LeaseKeeper,
        telemetry: Telemetry,
        handlers: WorkflowHandlers,
        holder: str,
        ttl: float,
    ) -> None:
        """Takes the orchestrator's name, `kind/name`, and the ttl of its leases in seconds."""
        self._store = store
        self._router = router
        self._keeper = keeper
        self._telemetry = telemetry
        self._handlers = handlers
        self._instances = Instances(store, holder)
        self._ttl_us = round(ttl * 1e6)
        self._recovery = Recovery(self.resume_all, ttl)
        # What cannot go on, so that it is not tried again and again.
        self._given_up: set[str] = set()
        self._planner = Planner()
        self._active: dict[str, _Active] = {}
        self._closing = False
        self._resuming = asyncio.Semaphore(_MOST_RESUMING)

    async def execute(
        self, contract: orchestrator_pb2.ModelContractOrchestrator
    ) -> orchestrator_pb2.ModelOrchestratorOutput:
        """Runs a workflow to its end, or joins the run under way, or returns what came of it.

        Raises:
            ContractValidationError, UnimplementedError: when the contract cannot be carried out.
            TargetNotFoundError: when the mesh lacks a node that a step names.
            AlreadyExistsError: when the workflow id was used for another content.
            LeaseConflictError: when somebody who is no instance of this node coordinates it.
            WorkflowExecutionError: when a step failed for good; a repeat gets it again.
        """
        first = True
        while True:
            active, content = self._begin_or_join(contract)
            try:
                output = await self._outcome(active)
            except LeaseConflictError as error:
                await self._until_free(active, content, contract.workflow_id, error, first=first)
                first = False
                continue
            if active.content != content:
                raise other_workflow(contract.workflow_id)
            return output

    async def follow(
        self, contract: orchestrator_pb2.ModelContractOrchestrator
    ) -> AsyncGenerator[common_pb2.Data, None]:
        """The responses of a handler, all from the beginning, as they become durable.

        Raises:
            OnexError: as execute, after the last response.
        """
        given, first = 0, True
        while True:
            active, content = self._begin_or_join(contract)
            async for response in self._answers(active, content, contract.workflow_id, given):
                yield response
                given += 1
            try:
                output = await self._outcome(active)
                break
            except LeaseConflictError as error:
                await self._until_free(active, content, contract.workflow_id, error, first=first)
                first = False
        # The last ones may have become durable with the end.
        for response in output.orchestration_result.responses[given:]:
            yield response
        refuse_cancelled(output)

    async def resume_all(self) -> int:
        """Goes on with every unfinished workflow that nobody works on.

        Returns at once, with their number. Leases of an earlier process of this instance, and of
        instances that are gone, are taken over without waiting for them to expire, since the
        store's locks prove them gone.
        """
        resumed = 0
        found = await self._instances.abandoned(self._active.__contains__)
        self._given_up.intersection_update(found)
        for workflow_id in found:
            if workflow_id not in self._active and workflow_id not in self._given_up:
                self._launch(workflow_id, b"", self._resume(workflow_id))
                resumed += 1
        if resumed:
            _log.info("resuming %d workflows", resumed)
        return resumed

    def keep_resuming(self) -> None:
        """From now on looks once a ttl for workflows whose holder is gone."""
        self._recovery.start()

    def abandon(self, workflow_id: str) -> None:
        """Stops running a workflow that an action has ended; those who wait get what it came to."""
        active = self._active.get(workflow_id)
        # Between two leases it reads the state anyway, under the new one.
        if active is not None and active.in_term and not active.aborted:
            active.aborted = True
            active.task.cancel()

    async def close(self) -> None:
        """Stops running; what is unfinished stays so, for the node's next process to go on with."""
        self._closing = True
        await self._recovery.close()
        tasks = [active.task for active in self._active.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin_or_join(
        self, contract: orchestrator_pb2.ModelContractOrchestrator
    ) -> tuple[_Active, bytes]:
        """The run of a workflow, and the content that it must have."""
        if not contract.HasField("workflow_config"):
            self._handlers.check(contract)
        course = self._course(contract)
        content = workflow_content(contract)
        active = self._active.get(contract.workflow_id)
        if active is None:
            workflow = self._prepare(contract, course, content)
            active = self._launch(contract.workflow_id, content, self._begin(workflow))
        elif active.content and active.content != content:
            raise other_workflow(contract.workflow_id)
        return active, content

    async def _answers(
        self, active: _Active, content: bytes, workflow_id: str, given: int
    ) -> AsyncGenerator[common_pb2.Data, None]:
        """The responses of a run after the first so many."""
        while responses := await active.answers.after(given):
            # Of one that was resumed the content is known by now.
            if active.content and active.content != content:
                raise other_workflow(workflow_id)
            for response in responses:
                yield response
            given += len(responses)

    async def _until_free(
        self,
        active: _Active,
        content: bytes,
        workflow_id: str,
        conflict: LeaseConflictError,
        *,
        first: bool,
    ) -> None:
        """Waits for another instance that runs a workflow to end it, or to die.

        Raises:
            LeaseConflictError: when it is no other instance that is in the way.
        """
        # By identity: a handler may have failed with such an error, too.
        if active.held is not conflict:
            raise conflict
        if active.content and active.content != content:
            raise other_workflow(workflow_id)
        await self._instances.wait(workflow_id, conflict, first=first)

    async def _outcome(self, active: _Active) -> Output:
        try:
            return await asyncio.shield(active.task)
        except asyncio.CancelledError:
            if self._closing and active.task.cancelled():
                raise self._draining() from None
            raise

    def _prepare(
        self,
        contract: orchestrator_pb2.ModelContractOrchestrator,
        course: Course,
        content: bytes,
    ) -> Workflow:
        call = current_call()
        if not contract.correlation_id:
            contract.correlation_id = call.correlation_id if call else str(uuid.uuid4())
        traceparent = call.traceparent if call else ""
        course.check_targets()
        return Workflow(contract, course, content, traceparent, time.time_ns() // 1000)

    def _course(self, contract: orchestrator_pb2.ModelContractOrchestrator) -> Course:
        """What a contract asks for; where it has a graph, that and no handler."""
        if contract.HasField("workflow_config"):
            return GraphCourse(self._planner.plan(contract.workflow_config), self._router)
        handler, request = self._handlers.find(contract)
        # The same request has the same bytes whoever wrote it, so that a repeat is recognised.
        contract.initial_state.message.Pack(request, deterministic=True)
        return ImperativeCourse(handler, request, self._router)

    def _launch(
        self, workflow_id: str, content: bytes, work: Coroutine[Any, Any, Output]
    ) -> _Active:
        if self._closing:
            work.close()
            raise self._draining()
        active = self._active[workflow_id] = _Active(content)
        active.task = asyncio.create_task(work, name=f"workflow {workflow_id}")
        active.task.add_done_callback(lambda task: self._ended(workflow_id, task))
        return active

    def _ended(self, workflow_id: str, task: asyncio.Task[Output]) -> None:
        active = self._active.pop(workflow_id, None)
        if active is not None:
            active.answers.end()
        error = None if task.cancelled() else task.exception()
        if active is None or error is None:
            return
        # Nobody's call is the current one here where the workflow was resumed.
        ids = {"correlation_id": active.correlation_id}
        if error is active.held:
            _log.debug("workflow %s: %s", workflow_id, error, extra=ids)
            return
        if not isinstance(error, OnexError):
            _log.error("workflow %s broke off", workflow_id, exc_info=error, extra=ids)
        else:
            _log.warning("workflow %s: %s", workflow_id, error, extra=ids)
        if active.over:
            return
        if isinstance(error, UnavailableError):
            self._recovery.hurry()
        elif not isinstance(error, LeaseConflictError):
            self._given_up.add(workflow_id)

    async def _begin(self, workflow: Workflow) -> Output:
        state = initial_state(workflow)
        sent_at = holder_clock()
        request = self._request(workflow.workflow_id, take_over_own=False)
        try:
            started = await self._store.acquire_and_start(request, start_commit(workflow, state))
        except LeaseConflictError as conflict:
            self._note_held(workflow.workflow_id, conflict)
            raise
        except AlreadyExistsError:
            # The store speaks of the action that begins it, which no caller knows.
            raise other_workflow(workflow.workflow_id) from None
        if isinstance(started, Replayed):
            return await self._resume(workflow.workflow_id)
        return await self._run(workflow, _Tenure(started.lease, sent_at, state, started.version))

    async def _resume(self, workflow_id: str) -> Output:
        # Many at once would only queue up in the store, before those that are already running.
        async with self._resuming:
            workflow = await self._read(workflow_id)
            tenure = await self._take_up(workflow)
        return tenure if isinstance(tenure, Output) else await self._run(workflow, tenure)

    async def _read(self, workflow_id: str) -> Workflow:
        recorded = await self._store.find_action(workflow_id, start_action_id(workflow_id))
        if recorded is None or not recorded.request:
            raise WorkflowNotFoundError(f"workflow {workflow_id} was not begun by this node")
        record = recorded_contract(recorded)
        active = self._active[workflow_id]
        active.content = recorded.content_hash
        active.correlation_id = record.contract.correlation_id
        enter_call(
            CallContext(
                active.correlation_id, traceparent=record.traceparent, workflow_id=workflow_id
            )
        )
        course = self._course(record.contract)
        return Workflow(
            record.contract, course, recorded.content_hash, record.traceparent, recorded.issued_us
        )

    async def _take_up(self, workflow: Workflow) -> _Tenure | Output:
        """A new lease over a workflow, or its output where it has ended."""
        workflow_id = workflow.workflow_id
        ended = await self._output_of(workflow)
        if ended is not None:
            return ended
        # A node that this process's settings lack is no fault of the workflow: it stays unfinished.
        workflow.course.check_targets()
        sent_at = holder_clock()
        try:
            lease = await self._instances.acquire(self._request(workflow_id, take_over_own=True))
        except LeaseConflictError as conflict:
            self._note_held(workflow_id, conflict)
            raise
        # Read again: until the new fence was in force, the former holder could still write.
        state, epoch = await read_state(self._store, workflow_id)
        if state.status != orchestrator_pb2.WORKFLOW_STATUS_RUNNING:
            await self._store.release_lease(lease.guard)
            return self._output(workflow, state, lease.lease_id, epoch)
        return _Tenure(lease, sent_at, state, epoch)

    async def _output_of(self, workflow: Workflow) -> Output | None:
        state, epoch = await read_state(self._store, workflow.workflow_id)
        if state.status == orchestrator_pb2.WORKFLOW_STATUS_RUNNING:
            return None
        last = await self._store.get_lease(workflow.workflow_id)
        return self._output(workflow, state, last.lease_id, epoch)

    def _output(
        self, workflow: Workflow, state: orchestrator_pb2.WorkflowState, lease_id: str, epoch: int
    ) -> Output:
        # Whoever follows gets the responses before the error of a workflow that failed.
        active = self._active[workflow.workflow_id]
        active.over = True
        active.answers.publish(state.responses)
        return make_output(workflow, state, lease_id=lease_id, epoch=epoch)

    async def _run(self, workflow: Workflow, tenure: _Tenure) -> Output:
        """Runs a workflow to its end, under as many leases as it takes."""
        active = self._active[workflow.workflow_id]
        fruitless = 0
        while True:
            lost: OnexError
            held = self._keeper.hold(tenure.lease, tenure.sent_at, lambda _: _cancel(active.task))
            active.in_term = True
            try:
                state, epoch = await self._term(workflow, tenure, held).run()
            except _ENDS_TERM as error:
                lost = error
            except asyncio.CancelledError:
                if self._closing:
                    await self._instances.hand_over(held.guard)
                    raise self._draining() from None
                if not held.lost and not active.aborted:
                    raise
                lost = held.error()
            else:
                return self._output(workflow, state, tenure.lease.lease_id, epoch)
            finally:
                active.in_term = False
                self._keeper.drop(held)
            await _forget_cancellation(active.task)
            if self._closing:
                # Its cancellation may be among those forgotten.
                raise self._draining()
            _log.warning("workflow %s: %s", workflow.workflow_id, lost)
            following = await self._take_up(workflow)
            if isinstance(following, Output):
                return following
            fruitless = fruitless + 1 if following.epoch == tenure.epoch else 0
            if fruitless == _MOST_FRUITLESS_TERMS:
                raise lost
            tenure = following

    def _term(self, workflow: Workflow, tenure: _Tenure, held: HeldLease) -> Term:
        return Term(
            workflow,
            held=held,
            state=tenure.state,
            epoch=tenure.epoch,
            store=self._store,
            telemetry=self._telemetry,
            answered=self._active[workflow.workflow_id].answers.publish,
        )

    def _draining(self) -> NodeUnavailableError:
        holder = self._instances.holder
        return NodeUnavailableError(f"{holder} is draining; ask again", retry_after=1.0)

    def _note_held(self, workflow_id: str, conflict: LeaseConflictError) -> None:
        if self._instances.is_other(conflict.context.get("holder", "")):
            self._active[workflow_id].held = conflict

    def _request(self, workflow_id: str, *, take_over_own: bool) -> LeaseRequest:
        return LeaseRequest(
            workflow_id=workflow_id,
            holder=self._instances.holder,
            ttl_us=self._ttl_us,
            request_id=str(uuid.uuid4()),
            take_over_own=take_over_own,
        )


async def _forget_cancellation(task: asyncio.Task[Output]) -> None:
    """Takes back the cancellation by which a running term was stopped."""
    if not task.cancelling():
        return
    # One that has not been delivered yet is, here.
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    while task.cancelling():
        task.uncancel()


def _cancel(task: asyncio.Task[Output]) -> None:
    task.cancel()
