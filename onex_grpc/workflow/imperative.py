"""Workflows that are a handler: run from the beginning under each lease, remembered by steps."""

from __future__ import annotations

import asyncio
import inspect
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, cast

from google.protobuf.message import Message

from onex.v1 import orchestrator_pb2
from onex_grpc.contract import data
from onex_grpc.contract.canonical import same_content
from onex_grpc.errors import OnexError, WorkflowExecutionError
from onex_grpc.rpc.status import error_detail
from onex_grpc.workflow.calls import StepCalls
from onex_grpc.workflow.replay import Replay, is_step

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from onex.v1 import common_pb2
    from onex_grpc.action.routing import Router
    from onex_grpc.workflow.course import Work
    from onex_grpc.workflow.handlers import WorkflowHandler
    from onex_grpc.workflow.policy import FailurePolicy

_log = logging.getLogger(__name__)
# How long a handler that is told to end may tidy up.
_STOPPING: Final = 5.0
_NAMED: Final = 5


class ImperativeCourse:
    """Runs a handler until it ends."""

    def __init__(self, handler: WorkflowHandler, request: Message, router: Router) -> None:
        self._handler = handler
        self._request = request
        self._router = router

    @property
    def coordination(self) -> orchestrator_pb2.WorkflowCoordination.ValueType:
        """None: the handler decides."""
        return orchestrator_pb2.WORKFLOW_COORDINATION_UNSPECIFIED

    def check_targets(self) -> None:
        """Raise TargetNotFoundError for a node of the handler that never was in the mesh."""
        for target in self._handler.targets:
            self._router.check(target)

    def policy(self, resolution: orchestrator_pb2.ConflictResolution | None) -> FailurePolicy:
        """That of the contract, else the handler's."""
        return self._handler.policy(resolution)

    async def run(self, work: Work) -> orchestrator_pb2.WorkflowState:
        """Runs the handler from its beginning; raises what ended the right to work."""
        work.answered(work.journal.state.responses)
        replay = Replay(list(work.journal.state.steps))
        calls = StepCalls(work, replay)
        # A copy: whatever the handler does to its request, the next run gets what was sent.
        request = type(self._request)()
        request.CopyFrom(self._request)
        run = _HandlerRun(self._handler, request, work, calls)
        task = asyncio.create_task(run.to_end())
        try:
            await asyncio.wait((task, calls.over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _stop(task, calls, self._handler.name)
        if calls.over.done():
            raise calls.over.result()
        if task.cancelled():
            run.failure = _unexplained(self._handler.name)
            _log.error("workflow %s: its handler cancelled itself", calls.workflow.workflow_id)
        else:
            # What is no Exception, such as SystemExit, is for the process, not for the workflow.
            task.result()
        changed = run.changed(replay.left)
        return _end(changed or run.failure, run.last, work.workflow.correlation_id)

    def results(
        self, state: orchestrator_pb2.WorkflowState
    ) -> Sequence[orchestrator_pb2.WorkflowStepResult]:
        """In the order in which the steps ended."""
        return [result for result in state.steps if is_step(result.step_id)]

    def total(self, state: orchestrator_pb2.WorkflowState) -> int:
        """All steps that have ended."""
        return len(self.results(state))


class _HandlerRun:
    """One run of a handler.

    Attributes:
        failure: with what it failed.
        last: its response, where it gives one.
    """

    def __init__(
        self, handler: WorkflowHandler, request: Message, work: Work, calls: StepCalls
    ) -> None:
        self.failure: OnexError | None = None
        self.last: common_pb2.Data | None = None
        self._handler = handler
        self._request = request
        self._work = work
        self._calls = calls
        # What earlier runs have answered comes first; it has been seen.
        self._before = list(work.journal.state.responses)
        self._given = 0
        self._differs = False

    async def to_end(self) -> None:
        """Runs the handler; what it raises is its failure."""
        try:
            answer = self._handler.run(self._request, self._calls)
            if inspect.isawaitable(answer):
                self.last = self._pack(await answer)
            else:
                async with aclosing(cast("AsyncGenerator[Message, None]", answer)) as responses:
                    async for response in responses:
                        await self._respond(self._pack(response))
        except Exception as error:
            self.failure = _own_failure(error)
            if self.failure is not None:
                return
            workflow_id = self._calls.workflow.workflow_id
            ids = {"correlation_id": self._calls.workflow.correlation_id}
            _log.exception("workflow %s: its handler failed", workflow_id, extra=ids)
            self.failure = _unexplained(self._handler.name)

    def changed(self, left: Sequence[str]) -> WorkflowExecutionError | None:
        """The failure of a handler that did not go the way that was recorded."""
        faults = []
        if left:
            more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
            faults.append(f"recorded, but not asked for: {', '.join(left[:_NAMED])}{more}")
        if self._differs:
            faults.append("a response differs from the one that was sent before")
        elif self._given < len(self._before):
            faults.append(f"{len(self._before)} responses were sent, but only {self._given} given")
        if not faults:
            return None
        call = self._calls.workflow
        return WorkflowExecutionError(
            f"workflow {call.workflow_id}: handler {self._handler.name}, run again, did not do what"
            f" it had done before ({'; '.join(faults)}); it must be deterministic, and a changed"
            " one needs new workflows",
            context={"workflow_id": call.workflow_id},
        )

    def _pack(self, response: object) -> common_pb2.Data:
        wanted = self._handler.response or Message
        if not isinstance(response, wanted):
            raise TypeError(
                f"handler {self._handler.name} gave a {type(response).__name__}; a"
                f" {wanted.__name__} is needed"
            )
        return data.pack(response)

    async def _respond(self, response: common_pb2.Data) -> None:
        place, self._given = self._given, self._given + 1
        if place < len(self._before):
            self._differs |= not same_content(self._before[place], response)
            return
        await self._calls.answer(response)
        self._work.answered(self._work.journal.state.responses)


async def _stop(task: asyncio.Task[None], calls: StepCalls, name: str) -> None:
    calls.stop()
    if task.done():
        return
    task.cancel()
    await asyncio.wait((task,), timeout=_STOPPING)
    if not task.done():
        _log.error(
            "workflow %s: handler %s does not end when it is cancelled; none of its calls will be"
            " made any more",
            calls.workflow.workflow_id,
            name,
        )


def _own_failure(error: Exception) -> OnexError | None:
    """What a handler says about its end; of a group of tasks, what failed first."""
    if not isinstance(error, ExceptionGroup):
        return error if isinstance(error, OnexError) else None
    said = [_own_failure(each) for each in error.exceptions]
    return None if None in said else said[0]


def _unexplained(name: str) -> OnexError:
    return OnexError(f"handler {name} failed unexpectedly; the orchestrator's log tells why")


def _end(
    failure: OnexError | None, last: common_pb2.Data | None, correlation_id: str
) -> orchestrator_pb2.WorkflowState:
    if failure is not None:
        return orchestrator_pb2.WorkflowState(
            status=orchestrator_pb2.WORKFLOW_STATUS_FAILED,
            error=error_detail(failure, correlation_id=correlation_id),
        )
    return orchestrator_pb2.WorkflowState(
        status=orchestrator_pb2.WORKFLOW_STATUS_COMPLETED,
        responses=() if last is None else (last,),
    )
