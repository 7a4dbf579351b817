"""Plans: what is refused when a contract arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import orchestrator_pb2
from onex_grpc.errors import ContractValidationError, UnimplementedError
from onex_grpc.workflow.plan import Planner, make_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

Step = orchestrator_pb2.WorkflowStep
Config = orchestrator_pb2.WorkflowConfig
SEQUENTIAL = orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
PARALLEL = orchestrator_pb2.WORKFLOW_COORDINATION_PARALLEL


def step(step_id: str, *after: str, bind: str = "", field: str = "input_data") -> Step:
    one = Step(step_id=step_id, target_node="compute", depends_on=after)
    one.compute.algorithm_config.algorithm_type = "sum"
    if bind:
        one.bindings.add(field=field, expression=bind)
    return one


def config(*steps: Step, parallel: bool = True) -> Config:
    return Config(coordination_type=PARALLEL if parallel else SEQUENTIAL, steps=steps)


def faults(*steps: Step, parallel: bool = True) -> Sequence[str]:
    with pytest.raises(ContractValidationError) as error:
        make_plan(config(*steps, parallel=parallel))
    return [f"{v.field}: {v.description}" for v in error.value.violations]


@pytest.mark.parametrize(
    "pattern",
    [
        orchestrator_pb2.WORKFLOW_COORDINATION_PIPELINE,
        orchestrator_pb2.WORKFLOW_COORDINATION_EVENT_DRIVEN,
    ],
)
def test_patterns_that_are_not_built_say_so(
    pattern: orchestrator_pb2.WorkflowCoordination.ValueType,
) -> None:
    with pytest.raises(UnimplementedError):
        make_plan(Config(coordination_type=pattern, steps=[step("a")]))


def test_all_faults_are_told_at_once_with_step_and_binding() -> None:
    found = faults(
        step("a", "nobody"),
        step("a"),
        step("c", "c"),
    )
    assert found == [
        "workflow_config.steps[1].step_id: 'a' is not unique",
        "workflow_config.steps[0].depends_on[0]: 'nobody' is not another step",
        "workflow_config.steps[2].depends_on[0]: 'c' is not another step",
    ]
    found = faults(step("a", bind="input +"), step("b", bind="1", field="nope"))
    assert "steps[0].bindings[0].expression: of step 'a'" in found[0]
    assert "steps[1].bindings[0].field: of step 'b'" in found[1]


def test_cycles_are_refused() -> None:
    found = faults(step("a", "c"), step("b", "a"), step("c", "b"), step("d"))
    assert [text.partition(".depends_on")[0] for text in found] == [
        f"workflow_config.steps[{n}]" for n in range(3)
    ]


def test_in_a_sequence_a_step_depends_on_earlier_ones() -> None:
    assert "comes later" in faults(step("a", "b"), step("b"), parallel=False)[0]


def test_the_target_must_be_of_the_kind_of_the_parameters() -> None:
    wrong = step("a")
    wrong.target_node = "reducer/orders"
    assert "target_node" in faults(wrong)[0]


def test_a_binding_reads_only_steps_that_come_before() -> None:
    read = "steps.a.output"
    make_plan(config(step("a"), step("b", "a"), step("c", "b", bind=read)))
    make_plan(config(step("a"), step("b", bind=read), parallel=False))
    assert "steps.a.output" in faults(step("a"), step("b", bind=read))[0]
    assert (
        "steps.b.output" in faults(step("a", bind="steps.b.output"), step("b"), parallel=False)[0]
    )
    assert "steps.zz.output" in faults(step("a", bind="steps.zz.output.total"))[0]


def test_an_element_that_is_not_there_is_refused() -> None:
    one = Step(step_id="a", target_node="effect")
    one.effect.io_operation_config.operation.database.statements.add()
    path = "io_operation_config.operation.database.statements[{}].insert.row.columns.x"
    one.bindings.add(field=path.format(0), expression="1")
    make_plan(config(one))
    one.bindings[0].field = path.format(1)
    assert "[1]" in faults(one)[0]


def test_plans_are_remembered() -> None:
    planner = Planner(capacity=1)
    first = planner.plan(config(step("a")))
    assert planner.plan(config(step("a"))) is first
    planner.plan(config(step("b")))
    assert planner.plan(config(step("a"))) is not first


def test_timeouts_are_those_of_the_contract() -> None:
    one = step("a")
    one.timeout.FromMilliseconds(1500)
    assert [s.timeout for s in make_plan(config(one, step("b"))).steps] == [1.5, 30.0]


@given(st.data())
def test_every_acyclic_graph_has_a_plan(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    order = data.draw(st.permutations(range(count)))
    edges = {
        index: data.draw(st.sets(st.sampled_from(order[:place]))) if place else set()
        for place, index in enumerate(order)
    }
    steps = [step(f"s{index}", *(f"s{i}" for i in edges[index])) for index in range(count)]
    plan = make_plan(config(*steps))
    for planned in plan.steps:
        assert set(planned.waits_for) == edges[planned.index]
        assert all(planned.index in plan.waiting[i] for i in planned.waits_for)
