"""One step: from its call to its result, with retries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from onex.v1 import action_pb2, common_pb2, orchestrator_pb2
from onex_grpc.action.ids import derive_action_id
from onex_grpc.context import CallContext, enter_call
from onex_grpc.errors import (
    LeaseExpiredError,
    LeaseValidationError,
    OnexError,
    StaleFenceError,
)
from onex_grpc.rpc.status import error_detail
from onex_grpc.store.model import ActionRecord
from onex_grpc.telemetry import SpanKind, names

if TYPE_CHECKING:
    from onex_grpc.lease.keeper import HeldLease
    from onex_grpc.telemetry import Span, Telemetry
    from onex_grpc.workflow.facts import Workflow
    from onex_grpc.workflow.journal import Journal
    from onex_grpc.workflow.policy import FailurePolicy

_DELEGATE: Final = action_pb2.ACTION_TYPE_DELEGATE_TASK
LOST: Final = (LeaseExpiredError, LeaseValidationError, StaleFenceError)
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
        telemetry: Telemetry,
        traceparent: str,
    ) -> None:
        """Takes the workflow span's traceparent."""
        self._workflow = workflow
        self._held = held
        self._journal = journal
        self._policy = policy
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
        """Runs a step to its end; a failure that the policy does not retry is an outcome.

        Raises:
            LeaseExpiredError, LeaseValidationError, StaleFenceError: when the lease is lost.
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
            span.end(error.status.name, error=True, description=error.reason)
            raise
        except BaseException:
            span.end("INTERNAL", error=True)
            raise
        finally:
            enter_call(self._between)
        if outcome.error is None:
            span.end()
        else:
            span.end(outcome.error.status.name, error=True, description=outcome.error.reason)
        return outcome

    async def _attempt_all(self, task: Task, action_id: str, span: Span) -> StepOutcome:
        issued_at = _now()
        try:
            send = task.prepare(action_id, issued_at)
        except OnexError as error:
            return self._failed(task, error, attempts=0, seconds=0.0)
        record = self._record(task, action_id, issued_at)
        attempts = 0
        while True:
            attempts += 1
            self._held.check()
            enter_call(self._context(action_id, span))
            started = time.perf_counter()
            try:
                output = await send()
            except LOST:
                raise
            except OnexError as error:
                seconds = time.perf_counter() - started
                delay = self._policy.retry_delay(error, attempts)
                if delay is None:
                    span.set(names.ATTEMPT, attempts)
                    return self._failed(task, error, attempts, seconds)
            else:
                return _completed(task, output, attempts, time.perf_counter() - started, record)
            await asyncio.sleep(delay)

    def _context(self, action_id: str, span: Span) -> CallContext:
        workflow = self._workflow
        return CallContext(
            correlation_id=workflow.correlation_id,
            action_id=action_id,
            epoch=self._journal.epoch,
            # Each attempt carries the token of the last renewal.
            lease=self._held.claim,
            traceparent=span.traceparent,
            workflow_id=workflow.workflow_id,
        )

    def _record(self, task: Task, action_id: str, issued_at: Timestamp) -> ActionRecord:
        workflow, guard = self._workflow, self._held.guard
        return ActionRecord(
            scope=workflow.workflow_id,
            action_id=action_id,
            # The content of a step follows from that of its workflow.
            content_hash=workflow.content,
            action_type=_DELEGATE,
            target=task.target,
            correlation_id=workflow.correlation_id,
            issued_us=issued_at.seconds * 1_000_000 + issued_at.nanos // 1000,
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
    attempts: int,
    seconds: float,
    record: ActionRecord,
) -> StepOutcome:
    result = orchestrator_pb2.WorkflowStepResult(
        step_id=task.step_id,
        status=orchestrator_pb2.STEP_STATUS_COMPLETED,
        output=output,
        attempts=attempts,
        execution_time=_duration(seconds),
    )
    return StepOutcome(result, record, None)


def _now() -> Timestamp:
    seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)


def _duration(seconds: float) -> Duration:
    whole, nanos = divmod(int(seconds * 1e9), 1_000_000_000)
    return Duration(seconds=whole, nanos=nanos)
