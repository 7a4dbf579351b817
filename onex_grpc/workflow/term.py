"""One holder's term at a workflow: what it does under one lease."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from onex_grpc.errors import OnexError
from onex_grpc.telemetry import SpanKind, names
from onex_grpc.workflow.course import Work
from onex_grpc.workflow.journal import Journal
from onex_grpc.workflow.output import status_of
from onex_grpc.workflow.step import StepRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onex.v1 import common_pb2, orchestrator_pb2
    from onex_grpc.lease.keeper import HeldLease
    from onex_grpc.store.protocol import StateStore
    from onex_grpc.telemetry import Span, Telemetry
    from onex_grpc.workflow.facts import Workflow
    from onex_grpc.workflow.outage import Outages
    from onex_grpc.workflow.pending import PendingSteps


class Term:
    """Runs a workflow from where its state stands to its end, under one lease."""

    def __init__(
        self,
        workflow: Workflow,
        *,
        held: HeldLease,
        state: orchestrator_pb2.WorkflowState,
        epoch: int,
        store: StateStore,
        outages: Outages,
        pending: PendingSteps,
        telemetry: Telemetry,
        answered: Callable[[Sequence[common_pb2.Data]], None],
    ) -> None:
        """Takes the workflow's state as it is stored, and its epoch.

        `answered` is told all responses that are durable.
        """
        self.held = held
        self._workflow = workflow
        self._outages = outages
        self._pending = pending
        self._telemetry = telemetry
        self._answered = answered
        # A commit that fails behind the workflow's back ends the term like a lost lease.
        self._journal = Journal(store, held.guard, state, epoch, lambda error: held.lose())

    async def run(self) -> tuple[orchestrator_pb2.WorkflowState, int]:
        """How the workflow ended, and its last epoch: durable, and the lease has been given back.

        Raises:
            LeaseExpiredError, StaleFenceError: when the lease was lost.
        """
        workflow = self._workflow
        span = self._telemetry.start_span(
            "workflow",
            SpanKind.INTERNAL,
            parent=workflow.traceparent,
            correlation_id=workflow.correlation_id,
            attributes={
                names.WORKFLOW_ID: workflow.workflow_id,
                names.FENCE: self.held.guard.fence,
            },
        )
        status = "CANCELLED"
        try:
            status = await self._run(span)
        except OnexError as error:
            status = error.status.name
            raise
        finally:
            span.end(status, error=status != "OK")
            await self._journal.close()
            await self._pending.close()
        return self._journal.state, self._journal.epoch

    async def _run(self, span: Span) -> str:
        workflow, journal = self._workflow, self._journal
        contract, course = workflow.contract, workflow.course
        given = contract.HasField("conflict_resolution")
        runner = StepRunner(
            workflow,
            held=self.held,
            journal=journal,
            policy=course.policy(contract.conflict_resolution if given else None),
            outages=self._outages,
            pending=self._pending,
            telemetry=self._telemetry,
            traceparent=span.traceparent,
        )
        end = await course.run(Work(workflow, journal, runner, self._answered))
        end.execution_time.CopyFrom(_since(workflow.started_us))
        await journal.finish(end)
        return status_of(journal.state)


def _since(started_us: int) -> Duration:
    elapsed = Duration()
    elapsed.FromMicroseconds(max(0, time.time_ns() // 1000 - started_us))
    return elapsed
