"""The order in which a workflow's steps run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from onex.v1 import common_pb2, orchestrator_pb2
from onex_grpc.errors import DependencyUnavailableError, OnexError
from onex_grpc.rpc.status import error_detail, from_detail
from onex_grpc.workflow.binding import output_variable
from onex_grpc.workflow.durability import before_step, fold_step, write_behind
from onex_grpc.workflow.step import StepOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from onex_grpc.workflow.graph import GraphRunner
    from onex_grpc.workflow.journal import Journal
    from onex_grpc.workflow.plan import Plan, PlannedStep

_COMPLETED: Final = orchestrator_pb2.STEP_STATUS_COMPLETED
_SKIPPED: Final = orchestrator_pb2.STEP_STATUS_SKIPPED


class Coordination:
    """Runs what is left of a plan's steps, with the barriers that durability needs.

    Which they are is the business of `durability`.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        runner: GraphRunner,
        values: dict[str, common_pb2.Data],
    ) -> None:
        """Takes `values`, into which the outputs of steps go, by variable."""
        self._plan = plan
        self._journal = journal
        self._runner = runner
        self._values = values
        self._ended: set[int] = set()
        self._skipped: set[int] = set()
        self.failures: list[tuple[str, OnexError]] = []
        """The steps that failed for good, and with what; the first one leads."""

    def restore(self, results: list[orchestrator_pb2.WorkflowStepResult]) -> None:
        """Takes over the results of steps that ended under an earlier lease."""
        indexes = {step.step_id: step.index for step in self._plan.steps}
        for result in results:
            if result.step_id not in indexes:
                # Of a task that another holder delegated in between: no step of the plan.
                continue
            self._note(indexes[result.step_id], result)
            if result.status == orchestrator_pb2.STEP_STATUS_FAILED:
                self.failures.append((result.step_id, from_detail(result.error)))

    async def run(self) -> None:
        """Runs until all steps have ended, or one failed for good."""
        if self.failures:
            return
        if self._plan.sequential:
            await self._run_sequential()
        else:
            await self._run_parallel()

    async def _run_sequential(self) -> None:
        for step in self._plan.steps:
            if step.index not in self._ended:
                await self._advance(step)
            if self.failures:
                return

    async def _run_parallel(self) -> None:
        steps, waiting = self._plan.steps, self._plan.waiting
        missing = [sum(i not in self._ended for i in step.waits_for) for step in steps]
        ready = [s for s in steps if s.index not in self._ended and not missing[s.index]]
        async with _Crew() as crew:
            while ready or crew.size:
                if len(ready) == 1 and not crew.size:
                    # Alone, a step needs no task of its own.
                    step = ready.pop()
                    await self._advance(step)
                else:
                    for one in ready:
                        crew.start(one, self._advance)
                    ready = []
                    step = await crew.next_done()
                if self.failures:
                    await crew.wind_down()
                    return
                for index in waiting[step.index]:
                    missing[index] -= 1
                    if not missing[index]:
                        ready.append(steps[index])

    async def _advance(self, step: PlannedStep) -> None:
        lacking = next((index for index in sorted(step.needs) if index in self._skipped), None)
        if lacking is not None:
            outcome = _left_out(step, self._plan.steps[lacking])
        else:
            await before_step(self._journal, step.kind)
            outcome = await self._runner.run(step)
        self._note(step.index, outcome.result)
        fold_step(self._journal, step.kind, outcome)
        if len(self._ended) < len(self._plan.steps):
            write_behind(self._journal, step.kind)
        if outcome.error is not None and outcome.result.status != _SKIPPED:
            self.failures.append((step.step_id, outcome.error))

    def _note(self, index: int, result: orchestrator_pb2.WorkflowStepResult) -> None:
        self._ended.add(index)
        if result.status == _COMPLETED:
            self._values[output_variable(result.step_id)] = result.output
        elif result.status == _SKIPPED:
            self._skipped.add(index)


class _Crew:
    """The steps that are running side by side."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], PlannedStep] = {}
        self._done: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()

    async def __aenter__(self) -> _Crew:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def size(self) -> int:
        """How many steps are running."""
        return len(self._tasks)

    def start(self, step: PlannedStep, advance: Advance) -> None:
        """Starts a step."""
        task = asyncio.create_task(advance(step))
        self._tasks[task] = step
        task.add_done_callback(self._done.put_nowait)

    async def next_done(self) -> PlannedStep:
        """The next step to end; raises what ended it."""
        task = await self._done.get()
        step = self._tasks.pop(task)
        task.result()
        return step

    async def wind_down(self) -> None:
        """Ends what is running: pure work at once, the rest when its outcome is known."""
        for task, step in self._tasks.items():
            if step.kind == "compute":
                task.cancel()
        while self._tasks:
            task = await self._done.get()
            self._tasks.pop(task)
            if not task.cancelled():
                task.result()


if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    Advance = Callable[[PlannedStep], Coroutine[Any, Any, None]]


def _left_out(step: PlannedStep, lacking: PlannedStep) -> StepOutcome:
    error = DependencyUnavailableError(
        f"step {step.step_id} was not run: step {lacking.step_id}, which it needs, was skipped",
        context={"step_id": step.step_id, "needs": lacking.step_id},
    )
    result = orchestrator_pb2.WorkflowStepResult(
        step_id=step.step_id, status=_SKIPPED, error=error_detail(error)
    )
    return StepOutcome(result, None, error)
