"""Runs workflows: begins each once, joins who asks again, goes on after a crash."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Final

from onex_grpc.context import current_call
from onex_grpc.errors import DeadlineExceededError, LeaseConflictError
from onex_grpc.workflow.active import Active, ActiveWorkflows
from onex_grpc.workflow.answers import Given
from onex_grpc.workflow.courses import Courses
from onex_grpc.workflow.facts import Workflow, other_workflow, workflow_content
from onex_grpc.workflow.instances import FIRST_LOOK, Instances
from onex_grpc.workflow.output import refuse_cancelled
from onex_grpc.workflow.recovery import Recovery
from onex_grpc.workflow.running import WorkflowRunner

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from onex.v1 import common_pb2, orchestrator_pb2
    from onex_grpc.action.routing import Router
    from onex_grpc.lease.keeper import LeaseKeeper
    from onex_grpc.store.protocol import Store
    from onex_grpc.telemetry import Telemetry
    from onex_grpc.workflow.course import Course
    from onex_grpc.workflow.handlers import WorkflowHandlers
    from onex_grpc.workflow.outage import Outages

_MARGIN: Final = 0.1
_MARGIN_SHARE: Final = 0.1
"""Seconds, and share of the time that is left, in which an answer reaches its caller."""


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
        outages: Outages,
        holder: str,
        ttl: float,
    ) -> None:
        """Takes the orchestrator's name, `kind/name`, and the ttl of its leases in seconds."""
        self._courses = Courses(router, handlers)
        self._instances = Instances(store, holder)
        self._running = ActiveWorkflows(
            self._instances.holder,
            lambda workflow_id, error: self._recovery.broke_off(workflow_id, error),
        )
        self._runner = WorkflowRunner(
            store=store,
            courses=self._courses,
            instances=self._instances,
            keeper=keeper,
            telemetry=telemetry,
            running=self._running,
            outages=outages,
            ttl=ttl,
        )
        self._recovery = Recovery(self._instances, self._running, self._runner.resume, ttl)

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
            DeadlineExceededError: when the caller's deadline is about to pass; it names what the
                workflow waits for, which goes on.
        """
        limit = asyncio.timeout(_patience())
        try:
            async with limit:
                return await self._execute(contract)
        except TimeoutError:
            if not limit.expired():
                raise
        raise self._unfinished(contract.workflow_id)

    async def _execute(
        self, contract: orchestrator_pb2.ModelContractOrchestrator
    ) -> orchestrator_pb2.ModelOrchestratorOutput:
        pause = FIRST_LOOK
        while True:
            active, content = self._begin_or_join(contract)
            try:
                output = await self._running.outcome(active)
            except LeaseConflictError as error:
                await self._until_free(active, content, error, pause)
                pause *= 2
                continue
            if active.content != content:
                raise other_workflow(contract.workflow_id)
            return output

    async def follow(
        self, contract: orchestrator_pb2.ModelContractOrchestrator
    ) -> AsyncGenerator[common_pb2.Data, None]:
        """The responses of a handler, all from the beginning, as they become durable.

        Raises:
            StateUpdateConflictError: when the workflow was rolled back after the first response.
            OnexError: as execute, after the last response.
        """
        given, pause = Given(), FIRST_LOOK
        while True:
            active, content = self._begin_or_join(contract)
            async for response in _answers(active, content, given):
                yield response
            try:
                output = await self._running.outcome(active)
                break
            except LeaseConflictError as error:
                await self._until_free(active, content, error, pause)
                pause *= 2
        # The last ones may have become durable with the end.
        for response in output.orchestration_result.responses[given.count :]:
            yield response
        refuse_cancelled(output)

    async def resume_all(self) -> int:
        """Goes on with every unfinished workflow that nobody works on.

        Returns at once, with their number. Leases of an earlier process of this instance, and of
        instances that are gone, are taken over without waiting for them to expire, since the
        store's locks prove them gone.
        """
        return await self._recovery.look()

    def keep_resuming(self) -> None:
        """From now on looks once a ttl for workflows whose holder is gone."""
        self._recovery.start()

    def reconsider_all(self) -> None:
        """Tries the workflows again that could not go on: a node has come that they may need."""
        self._recovery.reconsider_all()

    def abandon(self, workflow_id: str) -> None:
        """Stops running a workflow that an action has ended; those who wait get what it came to."""
        active = self._running.get(workflow_id)
        if active is not None:
            active.interrupt()

    def rolled_back(self, workflow_id: str) -> None:
        """Has a workflow go on from what an action has gone back to, if it runs here."""
        self._recovery.reconsider(workflow_id)
        self.abandon(workflow_id)

    def reducers_of(self, contract: orchestrator_pb2.ModelContractOrchestrator) -> Sequence[str]:
        """The reducers that the handler of a contract may call, as `kind/name`."""
        return self._courses.reducers_of(contract)

    async def close(self) -> None:
        """Stops running; what is unfinished stays so, for the node's next process to go on with."""
        self._running.closing = True
        await self._recovery.close()
        await self._running.close()

    def _unfinished(self, workflow_id: str) -> DeadlineExceededError:
        active = self._running.get(workflow_id)
        waits = "" if active is None or active.pending is None else f": {active.pending}"
        lost = None if active is None else active.lost
        if lost is not None:
            waits += f"; its leases come to nothing: {lost.message}"
        return DeadlineExceededError(
            f"workflow {workflow_id} goes on, but did not end within the call's deadline{waits};"
            " call again with the same workflow_id for its result",
            context={"workflow_id": workflow_id},
            causes=() if lost is None else (lost,),
        )

    def _begin_or_join(
        self, contract: orchestrator_pb2.ModelContractOrchestrator
    ) -> tuple[Active, bytes]:
        """The run of a workflow, and the content that it must have."""
        course = self._courses.of_new(contract)
        content = workflow_content(contract)
        active = self._running.get(contract.workflow_id)
        if active is None:
            workflow = _prepare(contract, course, content)
            active = self._running.launch(
                contract.workflow_id, content, lambda new: self._runner.begin(workflow, new)
            )
        elif active.content and active.content != content:
            raise other_workflow(contract.workflow_id)
        return active, content

    async def _until_free(
        self, active: Active, content: bytes, conflict: LeaseConflictError, longest: float
    ) -> None:
        """Waits for another instance that runs a workflow to end it, or to die, so many seconds.

        Raises:
            LeaseConflictError: when it is no other instance that is in the way.
        """
        # By identity: a handler may have failed with such an error, too.
        if active.held is not conflict:
            raise conflict
        if active.content and active.content != content:
            raise other_workflow(active.workflow_id)
        await self._instances.wait(active.workflow_id, conflict, longest)


def _patience() -> float | None:
    """Return the seconds after which a caller is told that the workflow goes on: just before its
    deadline, which would tell it nothing.
    """
    call = current_call()
    remaining = None if call is None else call.remaining()
    return None if remaining is None else remaining - min(_MARGIN, remaining * _MARGIN_SHARE)


async def _answers(
    active: Active, content: bytes, given: Given
) -> AsyncGenerator[common_pb2.Data, None]:
    """The responses of a run after the first so many."""
    while responses := await active.answers.after(given):
        # Of one that was resumed the content is known by now.
        if active.content and active.content != content:
            raise other_workflow(active.workflow_id)
        for response in responses:
            given.count += 1
            yield response


def _prepare(
    contract: orchestrator_pb2.ModelContractOrchestrator, course: Course, content: bytes
) -> Workflow:
    call = current_call()
    if not contract.correlation_id:
        contract.correlation_id = call.correlation_id if call else str(uuid.uuid4())
    traceparent = call.traceparent if call else ""
    return Workflow(contract, course, content, traceparent, time.time_ns() // 1000)
