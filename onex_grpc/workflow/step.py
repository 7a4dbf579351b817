"""One step: from its call to its result, over all outages between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from onex.v1 import action_pb2, common_pb2, orchestrator_pb2
from onex_grpc.action.ids import derive_action_id
from onex_grpc.context import CallContext, enter_call
from onex_grpc.errors import (
    LeaseExpiredError,
    LeaseRequiredError,
    LeaseValidationError,
    OnexError,
    StaleFenceError,
)
from onex_grpc.rpc.status import error_detail, reason_of
from onex_grpc.store.model import ActionRecord
from onex_grpc.telemetry import SpanKind, names
from onex_grpc.workflow.attempts import Attempts

if TYPE_CHECKING:
    from onex_grpc.lease.keeper import HeldLease
    from onex_grpc.telemetry import Span, Telemetry
    from onex_grpc.workflow.facts import Workflow
    from onex_grpc.workflow.journal import Journal
    from onex_grpc.workflow.outage import Outages
    from onex_grpc.workflow.pending import Pending, PendingSteps
    from onex_grpc.workflow.policy import FailurePolicy

_DELEGATE: Final = action_pb2.ACTION_TYPE_DELEGATE_TASK
LOST: Final = (LeaseExpiredError, LeaseValidationError, LeaseRequiredError, StaleFenceError)
"""Errors that end the holder's right to work, not the step."""

Send: TypeAlias = Callable[[], Awaitable[common_pb2.Data]]
"""One attempt."""
Prepare: TypeAlias = Callable[[str, Timestamp], Send]
"""Makes ready what is sent, of action id and time of issue; an OnexError fails the step."""


class Task(NamedTuple):
    """What is to be done in one step."""

    step_id: str
    title: str
    """Names the step's span."""
    target: str
    """Who does it, as `kind` or `kind/name`."""
    prepare: Prepare
    within: float | None
    """Seconds that bound the step, with all its attempts; None without a bound."""


class StepOutcome(NamedTuple):
    """How a step ended: with a record of its action, or with an error."""

    result: orchestrator_pb2.WorkflowStepResult
    record: ActionRecord | None
    error: OnexError | None


class StepRunner:
    """Runs the steps of one workflow under one lease."""

    def __init__(
        self,
        workflow: Workflow,
        *,
        held: HeldLease,
        journal: Journal,
        policy: FailurePolicy,
        outages: Outages,
        pending: PendingSteps,
        telemetry: Telemetry,
        traceparent: str,
    ) -> None:
        """Takes the workflow span's traceparent."""
        self._workflow = workflow
        self._held = held
        self._journal = journal
        self._policy = policy
        self._outages = outages
        self._pending = pending
        self._telemetry = telemetry
        self._traceparent = traceparent
        # What happens between steps belongs to the workflow's span.
        self._between = CallContext(
            correlation_id=workflow.correlation_id,
            traceparent=traceparent,
            workflow_id=workflow.workflow_id,
        )
        enter_call(self._between)

    async def run(self, task: Task) -> StepOutcome:
        """Run a step to its end: an outage delays it, any other failure is an outcome.

        Raises:
            LeaseExpiredError, LeaseValidationError, LeaseRequiredError, StaleFenceError: when the
                right to work has ended.
        """
        workflow = self._workflow
        action_id = derive_action_id(workflow.workflow_id, self._journal.run, task.step_id)
        span = self._telemetry.start_span(
            f"step {task.title}",
            SpanKind.INTERNAL,
            parent=self._traceparent,
            correlation_id=workflow.correlation_id,
            attributes={
                names.WORKFLOW_ID: workflow.workflow_id,
                names.WORKFLOW_STEP: task.step_id,
                names.ACTION_ID: action_id,
                names.FENCE: self._held.guard.fence,
            },
        )
        try:
            outcome = await self._attempt_all(task, action_id, span)
        except asyncio.CancelledError:
            span.end("CANCELLED", error=True)
            raise
        except OnexError as error:
            span.end(error.status.name, error=True, description=reason_of(error))
            raise
        except BaseException:
            span.end("INTERNAL", error=True)
            raise
        finally:
            enter_call(self._between)
        if outcome.error is None:
            span.end()
        else:
            reason = reason_of(outcome.error)
            span.end(outcome.error.status.name, error=True, description=reason)
        return outcome

    async def _attempt_all(self, task: Task, action_id: str, span: Span) -> StepOutcome:
        pending = self._pending.begin(action_id, task.step_id, task.target, task.within)
        attempts = Attempts(
            pending,
            self._pending,
            held=self._held,
            policy=self._policy,
            outages=self._outages,
            context=partial(self._context, pending, span),
        )
        try:
            send = task.prepare(action_id, _timestamp(pending.issued_us))
            output = await attempts.run(send)
        except (*LOST, asyncio.CancelledError):
            # The next holder goes on with what is on record of it.
            self._pending.leave(pending)
            raise
        except OnexError as error:
            self._pending.end(pending)
            span.set(names.ATTEMPT, pending.attempts)
            return self._failed(task, error, pending.attempts, attempts.seconds)
        self._pending.end(pending)
        return _completed(task, output, pending, attempts.seconds, self._record(task, pending))

    def _context(self, pending: Pending, span: Span) -> CallContext:
        workflow = self._workflow
        return CallContext(
            correlation_id=workflow.correlation_id,
            action_id=pending.action_id,
            epoch=self._journal.epoch,
            # Each attempt carries the token of the last renewal.
            lease=self._held.claim,
            traceparent=span.traceparent,
            workflow_id=workflow.workflow_id,
            issued_us=pending.issued_us if pending.resent else 0,
        )

    def _record(self, task: Task, pending: Pending) -> ActionRecord:
        workflow, guard = self._workflow, self._held.guard
        return ActionRecord(
            scope=workflow.workflow_id,
            action_id=pending.action_id,
            # The content of a step follows from that of its workflow.
            content_hash=workflow.content,
            action_type=_DELEGATE,
            target=task.target,
            correlation_id=workflow.correlation_id,
            issued_us=pending.issued_us,
            fence=guard.fence,
            epoch=self._journal.epoch,
            lease_id=guard.lease_id,
        )

    def _failed(self, task: Task, error: OnexError, attempts: int, seconds: float) -> StepOutcome:
        skipped = self._policy.skips
        result = orchestrator_pb2.WorkflowStepResult(
            step_id=task.step_id,
            status=orchestrator_pb2.STEP_STATUS_SKIPPED
            if skipped
            else orchestrator_pb2.STEP_STATUS_FAILED,
            error=error_detail(error),
            attempts=attempts,
            execution_time=_duration(seconds),
        )
        return StepOutcome(result, None, error)


def _completed(
    task: Task,
    output: common_pb2.Data,
    pending: Pending,
    seconds: float,
    record: ActionRecord,
) -> StepOutcome:
    result = orchestrator_pb2.WorkflowStepResult(
        step_id=task.step_id,
        status=orchestrator_pb2.STEP_STATUS_COMPLETED,
        output=output,
        attempts=pending.attempts,
        execution_time=_duration(seconds),
    )
    return StepOutcome(result, record, None)


def _timestamp(microseconds: int) -> Timestamp:
    seconds, rest = divmod(microseconds, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def _duration(seconds: float) -> Duration:
    whole, nanos = divmod(int(seconds * 1e9), 1_000_000_000)
    return Duration(seconds=whole, nanos=nanos)
