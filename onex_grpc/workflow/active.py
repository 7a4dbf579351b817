"""The workflows that this process is running, each in a task of its own."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeAlias

from onex.v1 import orchestrator_pb2
from onex_grpc.errors import NodeUnavailableError, OnexError
from onex_grpc.workflow.answers import Answers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from onex_grpc.errors import LeaseConflictError
    from onex_grpc.workflow.pending import PendingSteps

Output = orchestrator_pb2.ModelOrchestratorOutput
Work: TypeAlias = "Callable[[Active], Coroutine[Any, Any, Output]]"
"""Runs a workflow to its end."""

_log = logging.getLogger(__name__)


class Active:
    """A workflow that this process is running."""

    __slots__ = (
        *("answers", "content", "correlation_id", "held", "in_term", "interrupted", "lost"),
        *("over", "pending", "task", "workflow_id"),
    )

    def __init__(self, workflow_id: str, content: bytes) -> None:
        self.workflow_id = workflow_id
        self.content = content
        """Empty until a workflow that is being resumed has been read."""
        self.answers = Answers()
        self.correlation_id = ""
        """Of a workflow that was resumed; that of another one's call is the current one."""
        self.interrupted = False
        """Whether its term was ended since an action has changed what it builds on."""
        self.in_term = False
        """Whether it is being worked on, and not between two leases."""
        self.held: LeaseConflictError | None = None
        """Why it does not run here: another instance is working on it."""
        self.lost: OnexError | None = None
        """What ended its last term, as long as the terms since then came to nothing."""
        self.pending: PendingSteps | None = None
        """The steps that are under way; None before the first lease."""
        self.over = False
        """Whether its end is recorded, be it an error."""
        self.task: asyncio.Task[Output]

    def interrupt(self) -> None:
        """Ends its term since an action has ended it or rolled it back; it reads the state anew."""
        # Between two leases it reads the state anyway, under the new one.
        if self.in_term and not self.interrupted:
            self.interrupted = True
            self.task.cancel()


class ActiveWorkflows:
    """All workflows that this process is running, by their ids."""

    def __init__(self, holder: str, on_broken_off: Callable[[str, BaseException], None]) -> None:
        """Takes this process as the holder of leases, and what is told of each workflow that
        ended here with an error that is not recorded as its end.
        """
        self._holder = holder
        self._on_broken_off = on_broken_off
        self._active: dict[str, Active] = {}
        self.closing = False
        """Whether what runs is being stopped, for another process to go on with."""

    def __contains__(self, workflow_id: str) -> bool:
        return workflow_id in self._active

    def get(self, workflow_id: str) -> Active | None:
        """The run of a workflow, where there is one."""
        return self._active.get(workflow_id)

    def launch(
        self,
        workflow_id: str,
        content: bytes,
        work: Work,
    ) -> Active:
        """Begins to run a workflow.

        Raises:
            NodeUnavailableError: when this process is about to end.
        """
        if self.closing:
            raise self.draining()
        active = self._active[workflow_id] = Active(workflow_id, content)
        active.task = asyncio.create_task(work(active), name=f"workflow {workflow_id}")
        active.task.add_done_callback(lambda task: self._ended(active, task))
        return active

    async def outcome(self, active: Active) -> Output:
        """What a run comes to; that the caller is cancelled does not end it."""
        try:
            return await asyncio.shield(active.task)
        except asyncio.CancelledError:
            if self.closing and active.task.cancelled():
                raise self.draining() from None
            raise

    async def close(self) -> None:
        """Stops all, and waits until they have stopped."""
        self.closing = True
        tasks = [active.task for active in self._active.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def draining(self) -> NodeUnavailableError:
        """Why a workflow does not run here any more."""
        return NodeUnavailableError(f"{self._holder} is draining; ask again", retry_after=1.0)

    def _ended(self, active: Active, task: asyncio.Task[Output]) -> None:
        del self._active[active.workflow_id]
        active.answers.end()
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        workflow_id = active.workflow_id
        # Nobody's call is the current one here where the workflow was resumed.
        ids = {"correlation_id": active.correlation_id}
        if error is active.held:
            _log.debug("workflow %s: %s", workflow_id, error, extra=ids)
            return
        if not isinstance(error, OnexError):
            _log.error("workflow %s broke off", workflow_id, exc_info=error, extra=ids)
        else:
            _log.warning("workflow %s: %s", workflow_id, error, extra=ids)
        if not active.over:
            self._on_broken_off(workflow_id, error)
