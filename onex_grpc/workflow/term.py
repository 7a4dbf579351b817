"""One holder's term at a workflow: what it does under one lease."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from onex.v1 import common_pb2, orchestrator_pb2
from onex_grpc.errors import OnexError
from onex_grpc.rpc.status import error_detail
from onex_grpc.telemetry import SpanKind, names
from onex_grpc.workflow.binding import INPUT
from onex_grpc.workflow.coordination import Coordination
from onex_grpc.workflow.journal import Journal
from onex_grpc.workflow.output import make_output, workflow_failure
from onex_grpc.workflow.policy import FailurePolicy
from onex_grpc.workflow.step import StepRunner

if TYPE_CHECKING:
    from onex_grpc.action.routing import Router
    from onex_grpc.lease.keeper import HeldLease
    from onex_grpc.store.protocol import StateStore
    from onex_grpc.telemetry import Span, Telemetry
    from onex_grpc.workflow.facts import Workflow


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
        router: Router,
        telemetry: Telemetry,
    ) -> None:
        """Takes the workflow's state as it is stored, and its epoch."""
        self.held = held
        self._workflow = workflow
        self._router = router
        self._telemetry = telemetry
        # A commit that fails behind the workflow's back ends the term like a lost lease.
        self._journal = Journal(store, held.guard, state, epoch, lambda error: held.lose())

    async def run(self) -> orchestrator_pb2.ModelOrchestratorOutput:
        """The workflow's output, which is durable, and whose lease has been given back.

        Raises:
            WorkflowExecutionError: when a step failed for good; that is durable too.
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
            output = await self._run(span)
            status = "OK"
            return output
        except OnexError as error:
            status = error.status.name
            raise
        finally:
            span.end(status, error=status != "OK")
            await self._journal.close()

    async def _run(self, span: Span) -> orchestrator_pb2.ModelOrchestratorOutput:
        workflow, journal = self._workflow, self._journal
        values: dict[str, common_pb2.Data] = {INPUT: workflow.contract.initial_state}
        runner = StepRunner(
            workflow,
            held=self.held,
            journal=journal,
            router=self._router,
            policy=FailurePolicy(workflow.contract.conflict_resolution),
            telemetry=self._telemetry,
            traceparent=span.traceparent,
            values=values,
        )
        coordination = Coordination(workflow.plan, journal, runner, values)
        coordination.restore(list(journal.state.steps))
        await coordination.run()
        end = orchestrator_pb2.WorkflowState(
            status=orchestrator_pb2.WORKFLOW_STATUS_COMPLETED,
            execution_time=_since(workflow.started_us),
        )
        if coordination.failures:
            end.status = orchestrator_pb2.WORKFLOW_STATUS_FAILED
            end.error.CopyFrom(error_detail(workflow_failure(workflow, coordination.failures)))
        await journal.finish(end)
        lease_id = self.held.guard.lease_id
        return make_output(workflow, journal.state, lease_id=lease_id, epoch=journal.epoch)


def _since(started_us: int) -> Duration:
    elapsed = Duration()
    elapsed.FromMicroseconds(max(0, time.time_ns() // 1000 - started_us))
    return elapsed
