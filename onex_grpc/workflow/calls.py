"""The calls of a handler: each is a step of its workflow, made once and then remembered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Generic, NoReturn, TypeVar

from google.protobuf.message import Message

from onex.v1 import orchestrator_pb2
from onex_grpc.contract import data
from onex_grpc.contract.ids import derived_uuid7
from onex_grpc.contract.node import parse_target
from onex_grpc.errors import CallCancelledError, OnexError
from onex_grpc.rpc.status import error_detail, from_detail
from onex_grpc.workflow.durability import before_step, fold_step, write_behind
from onex_grpc.workflow.replay import Replay, StepNames
from onex_grpc.workflow.step import Task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.timestamp_pb2 import Timestamp

    from onex.v1 import common_pb2
    from onex_grpc.workflow.course import Work
    from onex_grpc.workflow.facts import Workflow
    from onex_grpc.workflow.step import Send, StepOutcome

R = TypeVar("R", bound=Message)

_FAILED: Final = orchestrator_pb2.STEP_STATUS_FAILED
_SKIPPED: Final = orchestrator_pb2.STEP_STATUS_SKIPPED
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WorkflowCall:
    """The facts of a workflow, with all the time and ids that its handler may use.

    Attributes:
        workflow_id: unique for all time.
        correlation_id: UUID text of the whole course of calls.
        started_at: when the workflow was asked for, in UTC; the same after a crash.
    """

    workflow_id: str
    correlation_id: str
    started_at: datetime

    def new_id(self, label: str) -> str:
        """A UUID for something that the workflow creates: the same one each time it runs, also
        after a rollback.

        Args:
            label: tells it from the other ids of this workflow.
        """
        milliseconds = (self.started_at - _EPOCH) // timedelta(milliseconds=1)
        return derived_uuid7(milliseconds, self.workflow_id, label)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCall(Generic[R]):
    """One call of a node.

    Attributes:
        rpc: what is called, as `package.Service/Rpc`.
        target: who is called, as `kind/name`.
        request: its request, from which the step is known again.
        response: type of its response.
        send: makes the call once.
        within: seconds that bound the step, with all its attempts; None without a bound.
    """

    rpc: str
    target: str
    request: Message
    response: type[R]
    send: Callable[[], Awaitable[R]]
    within: float | None = None


class StepCalls:
    """Makes the calls of a handler under one lease; given to each run of the handler anew.

    Attributes:
        workflow: what the handler may know of its workflow.
    """

    def __init__(self, work: Work, replay: Replay) -> None:
        self.workflow = workflow_call(work.workflow)
        self.over: asyncio.Future[OnexError] = asyncio.get_running_loop().create_future()
        """Is told why the right to work has ended."""
        self._journal = work.journal
        self._runner = work.runner
        self._replay = replay
        self._names = StepNames()
        self._stopped = False
        # Steps that were under way when the last term ended are so again.
        self._overlapping = bool(replay.left)
        self._under_way: set[asyncio.Task[object]] = set()

    async def call(self, step: StepCall[R]) -> R:
        """The response of a node: that of the first time, when the step has ended before.

        Raises:
            OnexError: with which the step failed for good, as the class that the node raised; the
                same whenever the handler is run again.
            asyncio.CancelledError: when the workflow is not worked on any more; it goes on later.
        """
        await self._refuse_stopped()
        step_id = self._names.name(step.rpc, step.request)
        if self._replay.knows(step_id):
            result = await self._replay.result(step_id)
        else:
            result = await self._perform(step, step_id)
        if result.status == _FAILED:
            raise from_detail(result.error)
        return data.unpack_as(result.output, step.response)

    async def answer(self, response: common_pb2.Data) -> None:
        """Adds a response of the workflow; returns when it and all before it is durable."""
        await self._refuse_stopped()
        self._journal.respond(response)
        try:
            await self._journal.barrier()
        except OnexError as error:
            self._end(error)

    def stop(self) -> None:
        """Ends the calls under way; whoever calls from now on is told to end, too."""
        self._stopped = True
        self._replay.close()
        for task in self._under_way:
            task.cancel()

    async def _perform(
        self, step: StepCall[R], step_id: str
    ) -> orchestrator_pb2.WorkflowStepResult:
        kind = parse_target(step.target).kind
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a coroutine runs in a task")
        self._under_way.add(task)
        self._overlapping |= len(self._under_way) > 1
        try:
            outcome = await self._taken(step, step_id, kind)
            await self._refuse_stopped()
            await self._fold(kind, outcome)
        finally:
            self._under_way.discard(task)
        return outcome.result

    async def _taken(self, step: StepCall[R], step_id: str, kind: str) -> StepOutcome:
        try:
            await self._replay.settled()
            await before_step(self._journal, kind)
            return await self._runner.run(_task(step, step_id))
        except asyncio.CancelledError:
            if not self._stopped:
                # Given up by the handler itself: it must find that again.
                self._journal.fold(_given_up(step_id), None)
            raise
        except OnexError as error:
            self._end(error)

    async def _fold(self, kind: str, outcome: StepOutcome) -> None:
        if not self._overlapping:
            fold_step(self._journal, kind, outcome)
            write_behind(self._journal, kind)
            return
        # Which of them ended first may decide what comes next; repeated, it might be another.
        self._journal.fold(outcome.result, outcome.record)
        write_behind(self._journal, kind)
        try:
            await self._replay.deliver()
        except asyncio.CancelledError:
            if not self._stopped:
                # Given up before it was met: that is what the handler must find again.
                self._journal.retract(_given_up(outcome.result.step_id))
            raise

    def _end(self, error: OnexError) -> NoReturn:
        """Ends the term: it is not the step that failed, but the right to work or the journal."""
        if not self.over.done():
            self.over.set_result(error)
        self._stopped = True
        # The handler is told to end at once; it must not take this for a failure of the step.
        raise asyncio.CancelledError("the workflow is not worked on any more") from error

    async def _refuse_stopped(self) -> None:
        if self._stopped:
            # One that goes on all the same must not keep everything else from running.
            await asyncio.sleep(0)
            raise asyncio.CancelledError("the workflow is not worked on any more")


def workflow_call(workflow: Workflow) -> WorkflowCall:
    """What a handler may know of its workflow."""
    started = _EPOCH + timedelta(microseconds=workflow.started_us)
    return WorkflowCall(workflow.workflow_id, workflow.correlation_id, started)


def _task(step: StepCall[R], step_id: str) -> Task:
    async def send() -> common_pb2.Data:
        return data.pack(await step.send())

    def prepare(action_id: str, issued_at: Timestamp) -> Send:
        return send

    return Task(step_id, step.rpc, step.target, prepare, step.within)


def _given_up(step_id: str) -> orchestrator_pb2.WorkflowStepResult:
    error = CallCancelledError(f"step {step_id} was given up by the workflow's handler")
    return orchestrator_pb2.WorkflowStepResult(
        step_id=step_id, status=_SKIPPED, error=error_detail(error)
    )
