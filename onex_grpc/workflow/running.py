"""Runs one workflow to its end, under as many leases as it takes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from functools import partial
from typing import TYPE_CHECKING, Final

from onex.v1 import orchestrator_pb2
from onex_grpc.action.ids import start_action_id
from onex_grpc.context import CallContext, enter_call
from onex_grpc.errors import (
    EpochMismatchError,
    OnexError,
    StateConsistencyError,
    TargetNotFoundError,
    WorkflowNotFoundError,
)
from onex_grpc.workflow.facts import Workflow, recorded_contract
from onex_grpc.workflow.output import make_output
from onex_grpc.workflow.pending import PendingSteps
from onex_grpc.workflow.step import LOST
from onex_grpc.workflow.tenure import Ended, Tenure, Tenures
from onex_grpc.workflow.term import Term

if TYPE_CHECKING:
    from onex_grpc.lease.keeper import HeldLease, LeaseKeeper
    from onex_grpc.store.protocol import Store
    from onex_grpc.telemetry import Telemetry
    from onex_grpc.workflow.active import Active, ActiveWorkflows
    from onex_grpc.workflow.courses import Courses
    from onex_grpc.workflow.instances import Instances
    from onex_grpc.workflow.outage import Outages

_log = logging.getLogger(__name__)

Output = orchestrator_pb2.ModelOrchestratorOutput
# A lease that is lost again and again without any progress: the next one waits longer and longer.
_FRUITLESS_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 30.0
_MOST_RESUMING: Final = 64
# What ends a term: the lease is lost, or an action under it has changed what the term builds on.
_ENDS_TERM: Final = (*LOST, EpochMismatchError, StateConsistencyError)


class WorkflowRunner:
    """What the task of a running workflow does."""

    def __init__(
        self,
        *,
        store: Store,
        courses: Courses,
        instances: Instances,
        keeper: LeaseKeeper,
        telemetry: Telemetry,
        running: ActiveWorkflows,
        outages: Outages,
        ttl: float,
    ) -> None:
        """Takes the ttl of leases in seconds."""
        self._store = store
        self._courses = courses
        self._instances = instances
        self._keeper = keeper
        self._telemetry = telemetry
        self._running = running
        self._outages = outages
        self._tenures = Tenures(store, instances, ttl)
        self._resuming = asyncio.Semaphore(_MOST_RESUMING)

    async def begin(self, workflow: Workflow, active: Active) -> Output:
        """Run a workflow from its beginning; one that has begun before goes on.

        Raises:
            TargetNotFoundError: for a node that never was in the mesh.
        """
        try:
            workflow.course.check_targets()
        except TargetNotFoundError:
            # What is known is answered, and goes on, whoever is away.
            if not await self._tenures.is_known(workflow.workflow_id):
                raise
        tenure = await self._tenures.begin(workflow, active)
        if tenure is None:
            return await self.resume(active)
        return await self._run(workflow, tenure, active)

    async def resume(self, active: Active) -> Output:
        """Goes on with a workflow that has begun; what came of it where it has ended."""
        # Many at once would only queue up in the store, before those that are already running.
        async with self._resuming:
            workflow = await self._read(active)
            tenure = await self._tenures.take_up(workflow, active)
        if isinstance(tenure, Ended):
            return _output(workflow, tenure, active)
        return await self._run(workflow, tenure, active)

    async def _read(self, active: Active) -> Workflow:
        workflow_id = active.workflow_id
        recorded = await self._store.find_action(workflow_id, start_action_id(workflow_id))
        if recorded is None or not recorded.request:
            raise WorkflowNotFoundError(f"workflow {workflow_id} was not begun by this node")
        record = recorded_contract(recorded)
        active.content = recorded.content_hash
        active.correlation_id = record.contract.correlation_id
        enter_call(
            CallContext(
                active.correlation_id, traceparent=record.traceparent, workflow_id=workflow_id
            )
        )
        course = self._courses.of(record.contract)
        return Workflow(
            record.contract, course, recorded.content_hash, record.traceparent, recorded.issued_us
        )

    async def _run(self, workflow: Workflow, tenure: Tenure, active: Active) -> Output:
        fruitless = 0
        while True:
            lost: OnexError
            held = self._keeper.hold(tenure.lease, tenure.sent_at, lambda _: _cancel(active.task))
            active.in_term = True
            try:
                state, epoch = await self._term(workflow, tenure, held, active).run()
            except _ENDS_TERM as error:
                lost = error
            except asyncio.CancelledError:
                if self._running.closing:
                    await self._instances.hand_over(held.guard)
                    raise self._running.draining() from None
                if not held.lost and not active.interrupted:
                    raise
                lost = held.error()
            else:
                return _output(workflow, Ended(state, tenure.lease.lease_id, epoch), active)
            finally:
                active.in_term = False
                self._keeper.drop(held)
            await _forget_cancellation(active.task)
            active.interrupted = False
            if self._running.closing:
                # Its cancellation may be among those forgotten.
                raise self._running.draining()
            _log.warning("workflow %s: %s", workflow.workflow_id, lost)
            await _rest(fruitless)
            following = await self._tenures.take_up(workflow, active)
            if isinstance(following, Ended):
                return _output(workflow, following, active)
            fruitless = fruitless + 1 if following.epoch == tenure.epoch else 0
            active.lost = lost if fruitless else None
            tenure = following

    def _term(self, workflow: Workflow, tenure: Tenure, held: HeldLease, active: Active) -> Term:
        steps = PendingSteps(self._store, held.guard, tenure.pending, tenure.maybe_sent_us)
        active.pending = steps
        return Term(
            workflow,
            held=held,
            state=tenure.state,
            epoch=tenure.epoch,
            store=self._store,
            outages=self._outages,
            pending=steps,
            telemetry=self._telemetry,
            answered=partial(active.answers.publish, run=tenure.state.run),
        )


def _output(workflow: Workflow, ended: Ended, active: Active) -> Output:
    # Whoever follows gets the responses before the error of a workflow that failed.
    active.over = True
    active.answers.publish(ended.state.responses, run=ended.state.run)
    return make_output(workflow, ended.state, lease_id=ended.lease_id, epoch=ended.epoch)


async def _forget_cancellation(task: asyncio.Task[Output]) -> None:
    """Takes back the cancellation by which a running term was stopped."""
    if not task.cancelling():
        return
    # One that has not been delivered yet is, here.
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    while task.cancelling():
        task.uncancel()


async def _rest(fruitless: int) -> None:
    """Wait before a term that follows on so many without progress."""
    if fruitless:
        pause = min(_LONGEST_PAUSE, _FRUITLESS_PAUSE * 2.0 ** min(fruitless, 16))
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load


def _cancel(task: asyncio.Task[Output]) -> None:
    task.cancel()
