"""The check of messages: completeness of faults, paths, UUIDs, what is not built, and its cost."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import (
    action_pb2,
    common_pb2,
    compute_pb2,
    effect_pb2,
    event_pb2,
    intent_pb2,
    lease_pb2,
    orchestrator_pb2,
    reducer_pb2,
)
from onex_grpc.contract import check
from onex_grpc.errors import ContractValidationError, Status, UnimplementedError

if TYPE_CHECKING:
    import uuid

ID = "0198c0de-0000-7000-8000-000000000001"


def reduction() -> reducer_pb2.ModelContractReducer:
    return reducer_pb2.ModelContractReducer(
        correlation_id=ID,
        reduction_config=reducer_pb2.ReductionConfig(state_key="k"),
        input_data=reducer_pb2.ReducerInput(action="GO"),
    )


def step(step_id: str, *depends_on: str) -> orchestrator_pb2.WorkflowStep:
    return orchestrator_pb2.WorkflowStep(
        step_id=step_id, target_node="reducer", reducer=reduction(), depends_on=depends_on
    )


def workflow(*steps: orchestrator_pb2.WorkflowStep) -> orchestrator_pb2.ModelContractOrchestrator:
    return orchestrator_pb2.ModelContractOrchestrator(
        workflow_id="wf:1",
        workflow_config=orchestrator_pb2.WorkflowConfig(
            coordination_type=orchestrator_pb2.WORKFLOW_COORDINATION_PARALLEL, steps=steps
        ),
    )


def faulty_fields(message: object) -> list[str]:
    with pytest.raises(ContractValidationError) as caught:
        check(message)  # type: ignore[arg-type]
    return [violation.field for violation in caught.value.violations]


def test_valid_messages_pass() -> None:
    for message in (reduction(), workflow(step("a"), step("b", "a")), struct_pb2.Struct()):
        check(message)


def test_all_faults_at_once_with_their_paths() -> None:
    wrong = step("B")
    wrong.reducer.correlation_id = "x"
    wrong.reducer.ClearField("input_data")
    message = workflow(step("a", "nope"), wrong)
    message.workflow_id = "a b"
    message.workflow_config.coordination_type = 99  # type: ignore[assignment]
    message.conflict_resolution.retry_config.max_retries = 101
    assert sorted(faulty_fields(message)) == [
        "conflict_resolution.retry_config.max_retries",
        "workflow_config.coordination_type",
        "workflow_config.steps[0].depends_on[0]",
        "workflow_config.steps[1].reducer.correlation_id",
        "workflow_config.steps[1].reducer.input_data",
        "workflow_config.steps[1].step_id",
        "workflow_id",
    ]


def test_error_names_each_fault_in_its_text() -> None:
    message = reduction()
    message.reduction_config.state_key = ""
    message.input_data.action = ""
    with pytest.raises(
        ContractValidationError, match=r"state_key: is empty; input_data\.action: is empty"
    ) as caught:
        check(message)
    assert caught.value.status == Status.INVALID_ARGUMENT


def test_fault_of_the_message_itself_is_named_after_its_type() -> None:
    assert faulty_fields(intent_pb2.TakeIntentsRequest()) == ["TakeIntentsRequest"]


def test_quoted_values_are_cut() -> None:
    message = reduction()
    message.correlation_id = "x" * 100_000
    with pytest.raises(ContractValidationError) as caught:
        check(message)
    assert len(caught.value.message) < 200


@given(st.uuids(), st.sampled_from([str.upper, str.lower, str.title]))
def test_uuids_are_lower_cased_in_place(value: uuid.UUID, case: object) -> None:
    message = reduction()
    message.correlation_id = case(str(value))  # type: ignore[operator]
    check(message)
    assert message.correlation_id == str(value)


@given(st.text(string.hexdigits + "-{}", min_size=1, max_size=40))
def test_other_texts_are_no_uuids(text: str) -> None:
    lengths = [len(part) for part in text.split("-")]
    if lengths == [8, 4, 4, 4, 12] and not set(text) & set("{}"):
        return
    message = reduction()
    message.correlation_id = text
    assert faulty_fields(message) == ["correlation_id"]


@pytest.mark.parametrize("text", [ID + "\n", ID.replace("-", ""), "{" + ID + "}", "\u0660" * 36])
def test_near_uuids(text: str) -> None:
    message = reduction()
    message.correlation_id = text
    assert faulty_fields(message) == ["correlation_id"]


def test_uuids_deep_inside_are_lower_cased() -> None:
    message = workflow(step("a"))
    message.workflow_config.steps[0].reducer.action_id = ID.upper()
    check(message)
    assert message.workflow_config.steps[0].reducer.action_id == ID


def intent() -> intent_pb2.ModelIntent:
    made = intent_pb2.ModelIntent(
        intent_id=ID, intent_type=intent_pb2.INTENT_TYPE_NOTIFICATION, target="mail"
    )
    made.payload.notification.template = "t"
    made.payload.notification.to = "a@b.invalid"
    return made


def test_intents_may_not_read() -> None:
    message = intent()
    message.intent_type = intent_pb2.INTENT_TYPE_FILE_OPERATION
    message.payload.file.path = "a"
    message.payload.file.read.SetInParent()
    assert faulty_fields(message) == ["payload.file.read"]
    message.intent_type = intent_pb2.INTENT_TYPE_DATABASE_WRITE
    message.payload.database.statements.add().select.table = "t"
    assert faulty_fields(message) == ["payload.database.statements[0].select"]


def test_custom_intents_need_neither_type_nor_target() -> None:
    message = intent_pb2.ModelIntent(intent_id=ID)
    message.payload.custom.Pack(reduction())
    check(message)


@pytest.mark.parametrize("name", ["API_CALL", "CACHE_UPDATE"])
def test_unbuilt_intents(name: str) -> None:
    message = intent()
    message.intent_type = intent_pb2.IntentType.Value(f"INTENT_TYPE_{name}")
    with pytest.raises(UnimplementedError, match=name):
        check(effect_pb2.ExecuteIntentsRequest(intents=[message]))


@pytest.mark.parametrize("name", ["PIPELINE", "EVENT_DRIVEN"])
def test_unbuilt_coordination(name: str) -> None:
    message = workflow(step("a"))
    kind = orchestrator_pb2.WorkflowCoordination.Value(f"WORKFLOW_COORDINATION_{name}")
    message.workflow_config.coordination_type = kind
    with pytest.raises(UnimplementedError, match=name):
        check(message)


def action(name: str, epoch: int | None = None) -> action_pb2.ModelAction:
    made = action_pb2.ModelAction(
        action_id=ID,
        action_type=action_pb2.ActionType.Value(name),
        lease_id=ID,
        target_node="reducer/orders",
        epoch=epoch,
    )
    made.issued_at.seconds = 1
    made.command_payload.reducer.CopyFrom(reduction())
    return made


def test_epoch_zero_is_not_absent() -> None:
    message = action("ACTION_TYPE_START_WORKFLOW")
    message.target_node = "orchestrator"
    message.command_payload.state.SetInParent()
    assert faulty_fields(message) == ["epoch"]
    message.epoch = 0
    check(message)


def test_delegated_tasks_and_aborts_need_no_epoch() -> None:
    check(action("ACTION_TYPE_DELEGATE_TASK"))
    abort = action("ACTION_TYPE_ABORT_WORKFLOW")
    assert faulty_fields(abort) == ["command_payload", "target_node"]
    abort.target_node = "orchestrator"
    abort.ClearField("command_payload")
    check(abort)


def test_update_takes_state_only() -> None:
    message = action("ACTION_TYPE_UPDATE_STATE", epoch=3)
    assert faulty_fields(message) == ["command_payload.reducer"]


def test_bound_fields_may_be_missing_in_a_step() -> None:
    message = step("a")
    message.reducer.Clear()
    message.reducer.input_data.action = "GO"
    message.bindings.add(field="reduction_config.state_key", expression="input.key")
    check(workflow(message))
    message.bindings[0].field = "input_data.payload"
    assert faulty_fields(workflow(message)) == ["workflow_config.steps[0].reducer.reduction_config"]


def test_binding_forgives_no_sibling() -> None:
    message = orchestrator_pb2.WorkflowStep(step_id="a", target_node="effect")
    message.effect.external_service_config.service_name = "files"
    message.effect.io_operation_config.operation.file.SetInParent()
    message.bindings.add(field="io_operation_config.operation.file.read.line", expression="input")
    prefix = "workflow_config.steps[0].effect.io_operation_config.operation.file"
    assert faulty_fields(workflow(message)) == [f"{prefix}.path"]


def test_steps_are_unique_and_depend_on_others() -> None:
    assert faulty_fields(workflow(step("a"), step("a"), step("c", "c"))) == [
        "workflow_config.steps[1].step_id",
        "workflow_config.steps[2].depends_on[0]",
    ]


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a\0b", "..\\x", "\\x"])
def test_paths_stay_below_their_root(path: str) -> None:
    message = effect_pb2.ModelContractEffect()
    message.external_service_config.service_name = "files"
    message.io_operation_config.operation.file.path = path
    message.io_operation_config.operation.file.delete.SetInParent()
    assert faulty_fields(message) == ["io_operation_config.operation.file.path"]


@pytest.mark.parametrize("to", ["", "a@b\r\nBcc: c@d", " a@b", "a@b\n", "x" * 321])
def test_addresses_smuggle_no_headers(to: str) -> None:
    message = intent()
    message.payload.notification.to = to
    assert faulty_fields(message) == ["payload.notification.to"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, 10.5, -1.0])
def test_multiplier(value: float) -> None:
    assert faulty_fields(common_pb2.RetryPolicy(multiplier=value)) == ["multiplier"]


@pytest.mark.parametrize(("seconds", "nanos"), [(0, 0), (-1, 0), (0, -1), (1, -1), (10**13, 0)])
def test_waits_are_positive_durations(seconds: int, nanos: int) -> None:
    message = common_pb2.RetryPolicy()
    message.initial_backoff.seconds = seconds
    message.initial_backoff.nanos = nanos
    assert set(faulty_fields(message)) == {"initial_backoff"}


def test_map_entries_are_named() -> None:
    message = compute_pb2.InputValidation()
    message.data_types["price"] = compute_pb2.DATA_TYPE_UNSPECIFIED
    message.data_types["name"] = 77  # type: ignore[assignment]
    assert sorted(faulty_fields(message)) == ["data_types['name']", "data_types['price']"]


def test_metadata_is_limited() -> None:
    message = common_pb2.Metadata()
    message.entries["k"] = "v" * 4097
    message.entries["k" * 129] = ""
    assert len(faulty_fields(message)) == 2
    message.entries.clear()
    message.entries.update({str(n): "" for n in range(65)})
    assert faulty_fields(message) == ["entries"]


def test_bus_gives_position_and_time() -> None:
    message = event_pb2.PublishRequest()
    message.event.event_id = message.event.topic = message.event.event_type = "e"
    check(message)
    message.event.sequence = 1
    message.event.published_at.seconds = 1
    assert faulty_fields(message) == ["event.sequence", "event.published_at"]


def test_causes_are_checked_to_any_depth() -> None:
    message = intent_pb2.TakeIntentsFail(claim_token="t")
    message.error.causes.add().causes.add().status_code = 99
    assert faulty_fields(message) == ["error.causes[0].causes[0].status_code"]


@given(st.binary(max_size=200))
def test_no_bytes_from_the_wire_break_the_check(wire: bytes) -> None:
    for message_type in (
        orchestrator_pb2.ModelContractOrchestrator,
        orchestrator_pb2.ExecuteActionRequest,
        effect_pb2.ExecuteIntentsRequest,
        lease_pb2.AcquireLeaseRequest,
    ):
        message = message_type()
        try:
            message.MergeFromString(wire)
        except Exception:  # noqa: S112 - what does not parse never reaches the check
            continue
        try:
            check(message)
        except (ContractValidationError, UnimplementedError) as error:
            assert error.message  # noqa: PT017 - both outcomes are right, others are not
