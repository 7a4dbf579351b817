"""Which actions a rollback undoes, and who carried them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from onex.v1 import action_pb2, orchestrator_pb2
from onex_grpc.action.ids import derive_action_id, start_action_id
from onex_grpc.contract.node import parse_target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from onex_grpc.store.model import LoggedAction
    from onex_grpc.store.protocol import StateStore

State = orchestrator_pb2.WorkflowState
Contract = orchestrator_pb2.ModelContractOrchestrator
ReducersOf = Callable[[Contract], Sequence[str]]
"""The reducers that a workflow without a graph may call, as `kind/name`."""
_PAGE: Final = 1000


class UndoneFinder:
    """Finds what lies between the state that is left and the one that is gone back to."""

    def __init__(self, store: StateStore, reducers_of: ReducersOf) -> None:
        self._store = store
        self._reducers_of = reducers_of

    async def find(
        self, workflow_id: str, left: State, target: State
    ) -> list[orchestrator_pb2.UndoneActions]:
        """The undone actions of reducers, by who was asked to carry them out.

        Those that failed, or were under way, are among them: they may have been carried out all
        the same.
        """
        begun = await self._contract(workflow_id)
        steps = _Steps(workflow_id, begun)
        logged = {row.action_id: row async for row in self._log(workflow_id)}
        reducers = {row.target for row in logged.values() if _is_reducer(row.target)}
        if begun is not None and not begun.HasField("workflow_config"):
            reducers.update(self._reducers_of(begun))
        undone: dict[str, dict[str, None]] = {}
        for result in _gone(left, target):
            for asked in await self._asked(steps, result, logged, sorted(reducers)):
                undone.setdefault(asked.target, {})[asked.action_id] = None
        for asked in steps.unrecorded(left):
            undone.setdefault(asked.target, {})[asked.action_id] = None
        return [
            orchestrator_pb2.UndoneActions(target_node=node, action_ids=ids)
            for node, ids in sorted(undone.items())
        ]

    async def _asked(
        self,
        steps: _Steps,
        result: orchestrator_pb2.WorkflowStepResult,
        logged: Mapping[str, LoggedAction],
        reducers: Sequence[str],
    ) -> Sequence[_Asked]:
        """Who may have carried out a step, and under which id."""
        if steps.delegates(result.step_id):
            return await self._delegated(steps.workflow_id, result.step_id)
        action_id = derive_action_id(steps.workflow_id, result.run, result.step_id)
        known = steps.targets.get(result.step_id)
        if known is None and action_id in logged:
            known = logged[action_id].target
        # Of what was not recorded to succeed only its id is known.
        nodes = reducers if known is None else [known]
        return [_Asked(node, action_id) for node in nodes if _is_reducer(node)]

    async def _delegated(self, workflow_id: str, action_id: str) -> Sequence[_Asked]:
        recorded = await self._store.find_action(workflow_id, action_id)
        if recorded is None:
            return ()
        action = action_pb2.ModelAction.FromString(recorded.request)
        if not action.command_payload.HasField("reducer"):
            return ()
        own = action.command_payload.reducer.action_id
        return (_Asked(action.target_node, own or action_id),)

    async def _contract(self, workflow_id: str) -> Contract | None:
        begun = await self._store.find_action(workflow_id, start_action_id(workflow_id))
        if begun is None or not begun.request:
            return None
        return orchestrator_pb2.WorkflowRecord.FromString(begun.request).contract

    async def _log(self, workflow_id: str) -> AsyncIterator[LoggedAction]:
        after = 0
        while rows := await self._store.list_actions(workflow_id, after, _PAGE):
            for row in rows:
                yield row
            after = rows[-1].sequence


class _Asked(NamedTuple):
    target: str
    action_id: str


class _Steps:
    """The steps of a workflow, as far as its contract tells; None where nobody has begun it."""

    def __init__(self, workflow_id: str, contract: Contract | None) -> None:
        steps = contract.workflow_config.steps if contract is not None else ()
        self.workflow_id = workflow_id
        self.targets = {step.step_id: step.target_node for step in steps}

    def delegates(self, step_id: str) -> bool:
        """Whether this is no step of the workflow's own, but a task that ExecuteAction delegated.

        Its id is that of its action; a handler's steps have a `#` in theirs.
        """
        return step_id not in self.targets and "#" not in step_id

    def unrecorded(self, left: State) -> Sequence[_Asked]:
        """Steps of the graph that may have been under way when the state was left."""
        recorded = {result.step_id for result in left.steps}
        return [
            _Asked(node, derive_action_id(self.workflow_id, left.run, step_id))
            for step_id, node in self.targets.items()
            if step_id not in recorded and _is_reducer(node)
        ]


def _gone(left: State, target: State) -> Sequence[orchestrator_pb2.WorkflowStepResult]:
    kept = {(result.step_id, result.run) for result in target.steps}
    return [result for result in left.steps if (result.step_id, result.run) not in kept]


def _is_reducer(node: str) -> bool:
    return parse_target(node).kind == "reducer"
