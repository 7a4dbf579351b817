"""The durable state of a running workflow, as its only writer keeps it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from onex.v1 import orchestrator_pb2
from onex_grpc.action.state import WORKFLOW_STATE
from onex_grpc.errors import OnexError, StateConsistencyError
from onex_grpc.store.keys import workflow_key
from onex_grpc.store.model import ActionRecord, Commit, Exact, Guard, Replayed

if TYPE_CHECKING:
    from collections.abc import Callable

    from onex.v1 import common_pb2
    from onex_grpc.store.protocol import StateStore

_KIND: Final = "ACTION_TYPE_DELEGATE_TASK"


class Journal:
    """Folds results into a workflow's state and decides what is written when.

    One commit is under way at a time; what is folded meanwhile goes into the next one, so that
    parallel steps share commits and none waits for another.
    """

    def __init__(
        self,
        store: StateStore,
        guard: Guard,
        state: orchestrator_pb2.WorkflowState,
        epoch: int,
        on_failed: Callable[[OnexError], None],
    ) -> None:
        """Takes `on_failed`, which is told when a commit that nobody waits for has failed."""
        self.state = state
        self.epoch = epoch
        self._store = store
        self._guard = guard
        self._on_failed = on_failed
        self._folded = False
        self._uncertain = False
        self._records: list[ActionRecord] = []
        self._turn = asyncio.Lock()
        self._failure: OnexError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writer: asyncio.Task[None] | None = None

    @property
    def run(self) -> int:
        """How often the workflow was rolled back: tells its actions from those of earlier runs."""
        return self.state.run

    def fold(
        self, result: orchestrator_pb2.WorkflowStepResult, record: ActionRecord | None
    ) -> None:
        """Adds a step's result, in memory; `record` is of an action that succeeded."""
        self.fold_repeatable(result, record)
        self._uncertain = True

    def fold_repeatable(
        self, result: orchestrator_pb2.WorkflowStepResult, record: ActionRecord | None
    ) -> None:
        """Adds the result of a step which, repeated, would come to the very same."""
        result.run = self.state.run
        self.state.steps.append(result)
        self._folded = True
        if record is not None:
            self._records.append(record)

    def retract(self, result: orchestrator_pb2.WorkflowStepResult) -> None:
        """Folds a result in the place of the one that its step had."""
        steps = self.state.steps
        del steps[next(i for i, known in enumerate(steps) if known.step_id == result.step_id)]
        self.fold(result, None)

    def respond(self, response: common_pb2.Data) -> None:
        """Adds a response of the workflow, in memory."""
        self.state.responses.append(response)
        self._folded = self._uncertain = True

    async def barrier(self) -> None:
        """Returns when everything folded is durable; raises what kept it from becoming so."""
        async with self._turn:
            if self._failure is not None:
                raise self._failure
            if self._folded:
                await self._write(_KIND, ended=False)

    async def barrier_of_uncertain(self) -> None:
        """Returns when everything folded is durable but what a repeat would come to again."""
        # What is being written, or could not be, may be uncertain, too.
        if self._uncertain or self._failure is not None or self._turn.locked():
            await self.barrier()

    def write_soon(self) -> None:
        """Begins to write what is folded, without waiting for it."""
        if self._folded and (self._writer is None or self._writer.done()):
            self._cancel_timer()
            self._writer = asyncio.create_task(self._write_behind())

    def write_within(self, seconds: float) -> None:
        """Lets what is folded wait so long for company."""
        if self._folded and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._on_time)

    async def finish(self, end: orchestrator_pb2.WorkflowState) -> None:
        """Writes how the workflow ended, with all that is folded, and gives the lease back.

        Args:
            end: status, error and execution_time of the workflow.
        """
        self._cancel_timer()
        async with self._turn:
            if self._failure is not None:
                raise self._failure
            self.state.MergeFrom(end)
            name = orchestrator_pb2.WorkflowStatus.Name(end.status)
            await self._write(name, ended=True)

    async def close(self) -> None:
        """Gives up what is not written."""
        self._cancel_timer()
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)

    def _on_time(self) -> None:
        self._timer = None
        self.write_soon()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _write_behind(self) -> None:
        try:
            # What is folded meanwhile may have been refused a writer, since this one was at work.
            while self._folded:
                await self.barrier()
        except OnexError as error:
            self._on_failed(error)

    async def _write(self, kind: str, *, ended: bool) -> None:
        records, self._records = self._records, []
        self._folded = self._uncertain = False
        self._cancel_timer()
        change = Commit(
            key=workflow_key(self._guard.workflow_id),
            # It is the only writer; should an action under the same lease have written all the
            # same, that must not be overwritten.
            expect=Exact(self.epoch),
            state=self.state.SerializeToString(),
            state_type=WORKFLOW_STATE,
            guard=self._guard,
            kind=kind,
            actions=records,
            open=False if ended else None,
            release=ended,
        )
        try:
            written = await self._store.commit(change)
        except OnexError as error:
            # Nothing may pass a barrier any more: what was to be written is no longer waiting.
            self._failure = error
            raise
        if isinstance(written, Replayed):
            raise StateConsistencyError(
                f"a step of workflow {self._guard.workflow_id} was recorded by somebody else"
            )
        self.epoch = written.version
