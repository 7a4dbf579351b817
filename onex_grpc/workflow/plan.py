"""The plan of a workflow: its graph of steps, checked when the contract arrives."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onex.v1 import compute_pb2, effect_pb2, orchestrator_pb2, reducer_pb2
from onex_grpc.errors import ContractValidationError, UnimplementedError, Violation
from onex_grpc.workflow.assign import AssignError
from onex_grpc.workflow.binding import CompiledBinding, compile_binding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.descriptor import Descriptor

_BUILT: Final = (
    orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL,
    orchestrator_pb2.WORKFLOW_COORDINATION_PARALLEL,
)
_COMMANDS: Final[Mapping[str, Descriptor]] = {
    "effect": effect_pb2.ModelContractEffect.DESCRIPTOR,
    "compute": compute_pb2.ModelContractCompute.DESCRIPTOR,
    "reducer": reducer_pb2.ModelContractReducer.DESCRIPTOR,
}
_DEFAULT_TIMEOUT: Final = 30.0


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of a plan.

    Attributes:
        index: its place among the steps as written.
        step_id: its id.
        kind: effect, compute or reducer.
        target: who does it.
        timeout: seconds that one attempt may take.
        within: seconds that bound the step, with all its attempts; None without a bound.
        waits_for: indexes of the steps that must have ended before it starts.
        needs: indexes of the steps without whose output it cannot run.
        bindings: what it takes from outputs of earlier steps.
    """

    index: int
    step_id: str
    kind: str
    target: str
    timeout: float
    within: float | None
    waits_for: tuple[int, ...]
    needs: frozenset[int]
    bindings: tuple[CompiledBinding, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A workflow's steps as written, and which steps wait for each of them."""

    coordination: orchestrator_pb2.WorkflowCoordination.ValueType
    steps: tuple[PlannedStep, ...]
    waiting: tuple[tuple[int, ...], ...]

    @property
    def sequential(self) -> bool:
        """Whether the steps run one after another."""
        return self.coordination == orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL


class Planner:
    """Makes plans, and remembers them: many workflows differ in nothing but their input."""

    def __init__(self, *, capacity: int = 1024) -> None:
        self._capacity = capacity
        self._plans: OrderedDict[bytes, Plan] = OrderedDict()

    def plan(self, config: orchestrator_pb2.WorkflowConfig) -> Plan:
        """The plan of a graph; raises as make_plan."""
        # A key of memory, no identity: the same graph in other bytes is only planned once more.
        key = hashlib.sha256(config.SerializeToString(deterministic=True)).digest()
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = make_plan(config)
            if len(self._plans) > self._capacity:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(key)
        return plan


def make_plan(config: orchestrator_pb2.WorkflowConfig) -> Plan:
    """Checks the graph of a workflow and compiles its bindings.

    Raises:
        UnimplementedError: for PIPELINE and EVENT_DRIVEN.
        ContractValidationError: for ids that are not unique, unknown or cyclic dependencies,
            parameters that do not fit the target, and bindings whose field does not exist or whose
            expression reads a step that does not come before; names every fault.
    """
    if config.coordination_type not in _BUILT:
        name = orchestrator_pb2.WorkflowCoordination.Name(config.coordination_type)
        raise UnimplementedError(f"{name} is not built; use SEQUENTIAL or PARALLEL")
    violations: list[Violation] = []
    graph = _Graph(config, violations)
    if not violations:
        graph.close_over_dependencies(violations)
    steps = [] if violations else [_step(graph, index, violations) for index in graph.indexes]
    if violations:
        raise ContractValidationError.of(*violations)
    waiting: list[list[int]] = [[] for _ in steps]
    for step in steps:
        for index in step.waits_for:
            waiting[index].append(step.index)
    return Plan(config.coordination_type, tuple(steps), tuple(map(tuple, waiting)))


def step_field(index: int, name: str) -> str:
    """The path of a step's field in a workflow's contract."""
    return f"workflow_config.steps[{index}].{name}"


class _Graph:
    """The dependencies of a workflow's steps."""

    def __init__(
        self, config: orchestrator_pb2.WorkflowConfig, violations: list[Violation]
    ) -> None:
        self.steps = config.steps
        self.indexes = range(len(config.steps))
        self.sequential = (
            config.coordination_type == orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
        )
        self.by_id: dict[str, int] = {}
        for index, step in enumerate(config.steps):
            if self.by_id.setdefault(step.step_id, index) != index:
                violations.append(
                    Violation(step_field(index, "step_id"), f"{step.step_id!r} is not unique")
                )
        self.direct = [self._dependencies(index, violations) for index in self.indexes]
        self.before: list[frozenset[int]] = []

    def _dependencies(self, index: int, violations: list[Violation]) -> tuple[int, ...]:
        found = []
        for position, name in enumerate(self.steps[index].depends_on):
            other = self.by_id.get(name)
            fault = ""
            if other is None or other == index:
                fault = f"{name!r} is not another step"
            elif self.sequential and other > index:
                fault = f"{name!r} comes later; in SEQUENTIAL a step depends on earlier ones"
            else:
                found.append(other)
            if fault:
                field = step_field(index, f"depends_on[{position}]")
                violations.append(Violation(field, fault))
        return tuple(dict.fromkeys(found))

    def comes_before(self, step_id: str, index: int) -> bool:
        """Whether a step has always ended when another one begins."""
        other = self.by_id.get(step_id)
        if other is None:
            return False
        return other < index if self.sequential else other in self.before[index]

    def close_over_dependencies(self, violations: list[Violation]) -> None:
        """Finds all steps before each one, in topological order (Kahn's algorithm)."""
        if self.sequential:
            return
        before: list[frozenset[int]] = [frozenset()] * len(self.steps)
        missing = [len(direct) for direct in self.direct]
        followers: list[list[int]] = [[] for _ in self.steps]
        for index, direct in enumerate(self.direct):
            for other in direct:
                followers[other].append(index)
        ready = [index for index in self.indexes if not missing[index]]
        for index in ready:
            before[index] = frozenset(self.direct[index]).union(
                *(before[other] for other in self.direct[index])
            )
            for follower in followers[index]:
                missing[follower] -= 1
                if not missing[follower]:
                    ready.append(follower)
        self.before = before
        violations.extend(
            Violation(step_field(index, "depends_on"), "is part of, or waits for, a cycle")
            for index in self.indexes
            if missing[index]
        )


def _step(graph: _Graph, index: int, violations: list[Violation]) -> PlannedStep:
    step = graph.steps[index]
    kind = step.WhichOneof("parameters") or ""
    if kind not in _COMMANDS or step.target_node.partition("/")[0] != kind:
        fault = f"does not fit the parameters, which are for {kind or 'nothing'}"
        violations.append(Violation(step_field(index, "target_node"), fault))
    bindings = _bindings(graph, index, kind, violations) if kind in _COMMANDS else ()
    reads = {graph.by_id[name] for binding in bindings for name in binding.reads}
    waits_for = ((index - 1,) if index else ()) if graph.sequential else graph.direct[index]
    return PlannedStep(
        index=index,
        step_id=step.step_id,
        kind=kind,
        target=step.target_node,
        timeout=_timeout(step),
        within=step.within.ToNanoseconds() / 1e9 if step.HasField("within") else None,
        waits_for=waits_for,
        needs=frozenset(graph.direct[index]) | reads,
        bindings=bindings,
    )


def _timeout(step: orchestrator_pb2.WorkflowStep) -> float:
    return step.timeout.ToNanoseconds() / 1e9 if step.HasField("timeout") else _DEFAULT_TIMEOUT


def _bindings(
    graph: _Graph, index: int, kind: str, violations: list[Violation]
) -> tuple[CompiledBinding, ...]:
    step = graph.steps[index]
    if not step.bindings:
        return ()
    command = (
        step.effect if kind == "effect" else (step.compute if kind == "compute" else step.reducer)
    )

    def sees(step_id: str) -> bool:
        return graph.comes_before(step_id, index)

    compiled = []
    for position, binding in enumerate(step.bindings):
        field = step_field(index, f"bindings[{position}]")
        try:
            one = compile_binding(_COMMANDS[kind], binding.field, binding.expression, sees)
            one.path.check_indexes(command)
            compiled.append(one)
        except ContractValidationError as error:
            violations.extend(_below(field, step.step_id, error.violations))
        except AssignError as error:
            violations.append(Violation(f"{field}.field", f"of step {step.step_id!r}: {error}"))
    return tuple(compiled)


def _below(field: str, step_id: str, found: Sequence[Violation]) -> list[Violation]:
    return [
        Violation(f"{field}.{one.field}", f"of step {step_id!r}: {one.description}")
        for one in found
    ]
