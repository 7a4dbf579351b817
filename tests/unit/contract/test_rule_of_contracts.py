"""The rule of contracts: every field is enforced, or it is not there.

For each field of each message another value is refused here, or the test named in
shown_elsewhere.toml shows that it gives another result. A field without an entry fails.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

import onex.v1
from onex.v1 import (
    action_pb2,
    common_pb2,
    compute_pb2,
    effect_pb2,
    error_pb2,
    event_pb2,
    intent_pb2,
    lease_pb2,
    node_pb2,
    orchestrator_pb2,
    reducer_pb2,
    registry_pb2,
)
from onex_grpc.contract import check
from onex_grpc.errors import ContractValidationError, UnimplementedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

HERE: Final = Path(__file__).parent
TESTS: Final = HERE.parents[1]
ID: Final = "0198c0de-0000-7000-8000-000000000001"


class Refused(NamedTuple):
    """What an edit does to a valid message: a fault at this path."""

    root: Callable[[], Message]
    edit: Callable[[Any], object]
    path: str


def compute() -> compute_pb2.ModelContractCompute:
    made = compute_pb2.ModelContractCompute()
    made.algorithm_config.algorithm_type = "sum"
    return made


def reducer() -> reducer_pb2.ModelContractReducer:
    made = reducer_pb2.ModelContractReducer()
    made.reduction_config.state_key = "k"
    made.input_data.action = "GO"
    return made


def effect() -> effect_pb2.ModelContractEffect:
    made = effect_pb2.ModelContractEffect()
    made.external_service_config.service_name = "t"
    made.io_operation_config.operation.message.event_type = "E"
    return made


def database() -> effect_pb2.ModelContractEffect:
    made = effect()
    statements = made.io_operation_config.operation.database.statements
    for kind in ("insert", "upsert", "update", "delete", "select"):
        statement = getattr(statements.add(), kind)
        statement.table = "t"
        for row in {"row", "where"} & set(statement.DESCRIPTOR.fields_by_name):
            getattr(statement, row).columns["c"].int64_value = 1
    statements[1].upsert.key_columns.append("c")
    return made


def files() -> effect_pb2.ModelContractEffect:
    made = effect()
    made.io_operation_config.operation.file.path = "a"
    made.io_operation_config.operation.file.delete.SetInParent()
    return made


def mail() -> effect_pb2.ModelContractEffect:
    made = effect()
    made.io_operation_config.operation.notification.template = "t"
    made.io_operation_config.operation.notification.to = "a@b.invalid"
    return made


def intent() -> intent_pb2.ModelIntent:
    made = intent_pb2.ModelIntent(intent_id=ID, target="t")
    made.intent_type = intent_pb2.INTENT_TYPE_MESSAGE_PUBLISH
    made.payload.message.event_type = "E"
    return made


def action() -> action_pb2.ModelAction:
    made = action_pb2.ModelAction(action_id=ID, lease_id=ID, target_node="compute/prices")
    made.action_type = action_pb2.ACTION_TYPE_DELEGATE_TASK
    made.issued_at.seconds = 1
    made.command_payload.compute.CopyFrom(compute())
    return made


def pinning() -> action_pb2.ModelAction:
    made = action()
    made.action_type = action_pb2.ACTION_TYPE_CHECKPOINT_STATE
    made.epoch, made.target_node = 1, "orchestrator"
    made.command_payload.checkpoint.name = "n"
    return made


def returning() -> action_pb2.ModelAction:
    made = action()
    made.action_type = action_pb2.ACTION_TYPE_ROLLBACK_STATE
    made.epoch, made.target_node = 1, "orchestrator"
    made.command_payload.rollback.epoch = 1
    return made


def execute_action() -> orchestrator_pb2.ExecuteActionRequest:
    return orchestrator_pb2.ExecuteActionRequest(
        workflow_id="w", fence=1, lease_token="t", action=action()
    )


def workflow() -> orchestrator_pb2.ModelContractOrchestrator:
    made = orchestrator_pb2.ModelContractOrchestrator(workflow_id="w")
    config = made.workflow_config
    config.coordination_type = orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
    config.steps.add(step_id="a", target_node="compute", compute=compute())
    return made


def publish() -> event_pb2.PublishRequest:
    return event_pb2.PublishRequest(event=event_pb2.Event(event_id="e", topic="t", event_type="E"))


def descriptor() -> node_pb2.NodeDescriptor:
    return node_pb2.NodeDescriptor(
        name="n", version="1.0.0", node_type=common_pb2.NODE_TYPE_COMPUTE
    )


def registering() -> registry_pb2.RegisterNodeRequest:
    node = registry_pb2.RegisteredNode(node=descriptor(), address="10.0.0.7:50052")
    return registry_pb2.RegisterNodeRequest(node=node)


def generated() -> node_pb2.NodeDescriptor:
    made = descriptor()
    made.contract.service = "shop.v1.OrderService"
    made.contract.fingerprint = "1.0.0:0123456789ab"
    return made


def acquire() -> lease_pb2.AcquireLeaseRequest:
    return lease_pb2.AcquireLeaseRequest(workflow_id="w", holder="h", request_id=ID)


def steal() -> lease_pb2.StealLeaseRequest:
    return lease_pb2.StealLeaseRequest(workflow_id="w", holder="h", request_id=ID, reason="r")


def proof(message_type: Callable[..., Message]) -> Callable[[], Message]:
    return lambda: message_type(workflow_id="w", lease_id=ID, fence=1)


def said(kind: str, **fields: object) -> Callable[[], Message]:
    def make() -> Message:
        made = intent_pb2.TakeIntentsRequest()
        message = getattr(made, kind)
        message.SetInParent()
        for name, value in fields.items():
            setattr(message, name, value)
        if kind == "fail":
            message.error.SetInParent()
        return made

    return make


def put(path: str, value: object) -> Callable[[Any], object]:
    """Sets, extends or (None) clears the field at a path, with [i] for elements of lists."""

    def edit(message: Any) -> None:
        *above, last = path.split(".")
        for part in above:
            name, _, index = part.partition("[")
            message = getattr(message, name)
            message = message[int(index[:-1])] if index else message
        if value is None:
            message.ClearField(last)
        elif isinstance(value, list):
            getattr(message, last).extend(value)
        elif isinstance(value, dict):
            getattr(message, last).update(value)
        elif value is ...:
            getattr(message, last).SetInParent()
        else:
            setattr(message, last, value)

    return edit


def refuse(root: Callable[[], Message], path: str, value: object, at: str | None = None) -> Refused:
    return Refused(root, put(path, value), path if at is None else at)


IO: Final = "io_operation_config.operation"
STEP: Final = "workflow_config.steps[0]"
STATEMENTS: Final = f"{IO}.database.statements"
RETRY: Final = "retry_config"
LISTED: Final = lambda: intent_pb2.ListIntentsRequest(  # noqa: E731
    status=intent_pb2.INTENT_STATUS_DEAD
)
TRAIL: Final = lambda: orchestrator_pb2.ListActionsRequest(workflow_id="w")  # noqa: E731
RENEW, RELEASE, VERIFY = (
    proof(message)
    for message in (
        lease_pb2.RenewLeaseRequest,
        lease_pb2.ReleaseLeaseRequest,
        lease_pb2.VerifyLeaseRequest,
    )
)

REFUSED: Final[dict[str, Refused]] = {
    "ActionPayload.effect": refuse(action, "command_payload.effect", ..., "target_node"),
    "ActionPayload.compute": refuse(action, "command_payload.compute.algorithm_config", None),
    "ActionPayload.reducer": refuse(action, "command_payload.reducer", ..., "target_node"),
    "ActionPayload.state": refuse(action, "command_payload.state", ...),
    "ActionPayload.checkpoint": refuse(
        action, "command_payload.checkpoint.name", "n", "command_payload.checkpoint"
    ),
    "ActionPayload.rollback": refuse(
        action, "command_payload.rollback.epoch", 1, "command_payload.rollback"
    ),
    "CheckpointCommand.name": refuse(pinning, "command_payload.checkpoint.name", ""),
    "RollbackCommand.epoch": refuse(returning, "command_payload.rollback.epoch", 0),
    "RollbackCommand.checkpoint": refuse(
        returning, "command_payload.rollback.checkpoint", "c" * 201
    ),
    "ModelAction.action_id": refuse(execute_action, "action.action_id", ""),
    "ModelAction.action_type": refuse(execute_action, "action.action_type", 0),
    "ModelAction.lease_id": refuse(execute_action, "action.lease_id", "x"),
    "ModelAction.target_node": refuse(execute_action, "action.target_node", "reducer"),
    "ModelAction.epoch": refuse(
        execute_action,
        "action.action_type",
        action_pb2.ACTION_TYPE_UPDATE_STATE,
        "action.epoch",
    ),
    "ModelAction.command_payload": refuse(execute_action, "action.command_payload", None),
    "ModelAction.correlation_id": refuse(execute_action, "action.correlation_id", "x"),
    "ModelAction.issued_at": refuse(execute_action, "action.issued_at", None),
    "ModelAction.status": refuse(execute_action, "action.status", action_pb2.ACTION_STATUS_FAILED),
    "ModelAction.parent_action_id": refuse(execute_action, "action.parent_action_id", "x"),
    "ModelAction.metadata": refuse(action, "metadata.entries", {"": "v"}, "metadata.entries['']"),
    "Data.message": refuse(compute, "input_data.message.type_url", "x"),
    "RetryPolicy.max_retries": refuse(effect, f"{RETRY}.max_retries", 101),
    "RetryPolicy.initial_backoff": refuse(effect, f"{RETRY}.initial_backoff", ...),
    "RetryPolicy.max_backoff": refuse(effect, f"{RETRY}.max_backoff", ...),
    "RetryPolicy.multiplier": refuse(effect, f"{RETRY}.multiplier", 0.5),
    "Metadata.entries": refuse(
        intent, "metadata.entries", {"k" * 129: "v"}, f"metadata.entries['{'k' * 57}...']"
    ),
    "AlgorithmConfig.algorithm_type": refuse(compute, "algorithm_config.algorithm_type", ""),
    "ModelContractCompute.correlation_id": refuse(compute, "correlation_id", "x"),
    "ModelContractCompute.algorithm_config": refuse(compute, "algorithm_config", None),
    "ExternalServiceConfig.service_name": refuse(
        effect, "external_service_config.service_name", ""
    ),
    "IoOperationConfig.operation": refuse(effect, IO, None),
    "IoOperationConfig.idempotency_key": refuse(
        effect, "io_operation_config.idempotency_key", "a b"
    ),
    "ModelContractEffect.correlation_id": refuse(effect, "correlation_id", "x"),
    "ModelContractEffect.external_service_config": refuse(
        effect, "external_service_config", None, "external_service_config.service_name"
    ),
    "ModelContractEffect.io_operation_config": refuse(effect, "io_operation_config", None),
    "ModelContractEffect.retry_config": refuse(effect, f"{RETRY}.max_retries", 1000),
    "ExternalServiceConfig.timeout": refuse(effect, "external_service_config.timeout", ...),
    "ExecuteIntentsRequest.intents": Refused(
        effect_pb2.ExecuteIntentsRequest,
        lambda m: m.intents.add(),
        "intents[0].intent_id",
    ),
    "ErrorDetail.correlation_id": refuse(error_pb2.ErrorDetail, "correlation_id", "x"),
    "ErrorDetail.causes": Refused(
        error_pb2.ErrorDetail,
        lambda m: m.causes.add(status_code=17),
        "causes[0].status_code",
    ),
    "Event.event_id": refuse(publish, "event.event_id", ""),
    "Event.topic": refuse(publish, "event.topic", "a/b"),
    "Event.event_type": refuse(publish, "event.event_type", ""),
    "Event.key": refuse(publish, "event.key", "k" * 1025),
    "Event.correlation_id": refuse(publish, "event.correlation_id", "x"),
    "PublishRequest.event": refuse(publish, "event", None),
    "SubscribeRequest.topic": refuse(lambda: event_pb2.SubscribeRequest(topic="t"), "topic", ""),
    "ModelIntent.intent_id": refuse(intent, "intent_id", ""),
    "ModelIntent.intent_type": refuse(intent, "intent_type", intent_pb2.INTENT_TYPE_NOTIFICATION),
    "ModelIntent.target": refuse(intent, "target", ""),
    "ModelIntent.payload": refuse(intent, "payload", None),
    "ModelIntent.correlation_id": refuse(intent, "correlation_id", "x"),
    "ModelIntent.idempotency_key": refuse(intent, "idempotency_key", "ä"),
    "ModelIntent.retry_policy": refuse(intent, "retry_policy.max_retries", 101),
    "ModelIntent.metadata": refuse(intent, "metadata.entries", {"": ""}, "metadata.entries['']"),
    "TakeIntentsHello.worker": refuse(said("hello", worker="effect/a"), "hello.worker", "effect"),
    "TakeIntentsHello.accepts": refuse(
        said("hello", worker="effect/w"), "hello.accepts", ["orders.v1.Order"], "hello.accepts[0]"
    ),
    "TakeIntentsCredit.count": refuse(said("credit", count=1), "credit.count", 0),
    "TakeIntentsComplete.claim_token": refuse(
        said("complete", claim_token="t"), "complete.claim_token", ""
    ),
    "TakeIntentsFail.claim_token": refuse(said("fail", claim_token="t"), "fail.claim_token", ""),
    "TakeIntentsExtend.claim_token": refuse(
        said("extend", claim_token="t"), "extend.claim_token", ""
    ),
    "TakeIntentsRequest.hello": refuse(said("goodbye"), "hello", ..., "hello.worker"),
    "TakeIntentsRequest.credit": refuse(said("goodbye"), "credit", ..., "credit.count"),
    "TakeIntentsRequest.complete": refuse(said("goodbye"), "complete", ..., "complete.claim_token"),
    "TakeIntentsRequest.fail": refuse(said("goodbye"), "fail", ..., "fail.error"),
    "TakeIntentsRequest.extend": refuse(said("goodbye"), "extend", ..., "extend.claim_token"),
    "TakeIntentsRequest.goodbye": refuse(said("goodbye"), "goodbye", None, "TakeIntentsRequest"),
    "RedriveIntentsRequest.intent_ids": Refused(
        lambda: intent_pb2.RedriveIntentsRequest(intent_ids=[ID]),
        lambda m: m.intent_ids.append("x"),
        "intent_ids[1]",
    ),
    "CancelIntentsRequest.intent_ids": Refused(
        lambda: intent_pb2.CancelIntentsRequest(intent_ids=[ID]),
        lambda m: m.intent_ids.append("x"),
        "intent_ids[1]",
    ),
    "CancelIntentsRequest.action_ids": Refused(
        lambda: intent_pb2.CancelIntentsRequest(action_ids=[ID]),
        lambda m: m.action_ids.extend([ID] * 1000),
        "action_ids",
    ),
    "RedriveIntentsRequest.all": refuse(
        lambda: intent_pb2.RedriveIntentsRequest(intent_ids=[ID]), "all", True
    ),
    "ListIntentsRequest.status": refuse(LISTED, "status", intent_pb2.INTENT_STATUS_FAILED),
    "ListIntentsRequest.page_size": refuse(LISTED, "page_size", 1001),
    "ListIntentsRequest.page_token": refuse(LISTED, "page_token", "t" * 201),
    "AcquireLeaseRequest.workflow_id": refuse(acquire, "workflow_id", "a b"),
    "AcquireLeaseRequest.holder": refuse(acquire, "holder", ""),
    "AcquireLeaseRequest.ttl": refuse(acquire, "ttl", ...),
    "AcquireLeaseRequest.request_id": refuse(acquire, "request_id", ""),
    "StealLeaseRequest.workflow_id": refuse(steal, "workflow_id", "a b"),
    "StealLeaseRequest.holder": refuse(steal, "holder", ""),
    "StealLeaseRequest.ttl": refuse(steal, "ttl", ...),
    "StealLeaseRequest.request_id": refuse(steal, "request_id", ""),
    "StealLeaseRequest.reason": refuse(steal, "reason", ""),
    **{
        f"{root().DESCRIPTOR.name}.{field}": refuse(root, field, value)
        for root in (RENEW, RELEASE, VERIFY)
        for field, value in (("workflow_id", ""), ("lease_id", "x"), ("fence", 0))
    },
    "GetLeaseRequest.workflow_id": refuse(
        lambda: lease_pb2.GetLeaseRequest(workflow_id="w"), "workflow_id", ""
    ),
    "NodeDescriptor.name": refuse(descriptor, "name", "N"),
    "NodeDescriptor.node_type": refuse(descriptor, "node_type", 0),
    "NodeDescriptor.version": refuse(descriptor, "version", "1"),
    "NodeDescriptor.depends_on": refuse(descriptor, "depends_on", ["x"], "depends_on[0]"),
    "Row.columns": refuse(
        database, f"{STATEMENTS}[0].insert.row.columns", None, f"{STATEMENTS}[0].insert.row"
    ),
    "DatabaseInsert.table": refuse(database, f"{STATEMENTS}[0].insert.table", ""),
    "DatabaseInsert.row": refuse(database, f"{STATEMENTS}[0].insert.row", None),
    "DatabaseUpsert.table": refuse(database, f"{STATEMENTS}[1].upsert.table", ""),
    "DatabaseUpsert.row": refuse(database, f"{STATEMENTS}[1].upsert.row", None),
    "DatabaseUpsert.key_columns": refuse(database, f"{STATEMENTS}[1].upsert.key_columns", None),
    "DatabaseUpdate.table": refuse(database, f"{STATEMENTS}[2].update.table", ""),
    "DatabaseUpdate.row": refuse(database, f"{STATEMENTS}[2].update.row", None),
    "DatabaseUpdate.where": refuse(database, f"{STATEMENTS}[2].update.where", None),
    "DatabaseDelete.table": refuse(database, f"{STATEMENTS}[3].delete.table", ""),
    "DatabaseDelete.where": refuse(database, f"{STATEMENTS}[3].delete.where", None),
    "DatabaseSelect.table": refuse(database, f"{STATEMENTS}[4].select.table", ""),
    "DatabaseSelect.columns": refuse(
        database, f"{STATEMENTS}[4].select.columns", [""], f"{STATEMENTS}[4].select.columns[0]"
    ),
    "DatabaseSelect.limit": refuse(database, f"{STATEMENTS}[4].select.limit", 10_001),
    **{
        f"DatabaseStatement.{kind}": refuse(
            database, f"{STATEMENTS}[{index}].{kind}", None, f"{STATEMENTS}[{index}]"
        )
        for index, kind in enumerate(("insert", "upsert", "update", "delete", "select"))
    },
    "DatabaseOperation.statements": refuse(database, STATEMENTS, None),
    "FileOperation.path": refuse(files, f"{IO}.file.path", "../a"),
    "FileOperation.delete": refuse(files, f"{IO}.file.delete", None, f"{IO}.file"),
    "MessagePublish.event_type": refuse(effect, f"{IO}.message.event_type", ""),
    "MessagePublish.key": refuse(effect, f"{IO}.message.key", "k" * 1025),
    "Notification.template": refuse(mail, f"{IO}.notification.template", ""),
    "Notification.to": refuse(mail, f"{IO}.notification.to", "a\nb"),
    "EffectOperation.database": refuse(effect, f"{IO}.database", ..., f"{IO}.database.statements"),
    "EffectOperation.file": refuse(effect, f"{IO}.file", ..., f"{IO}.file.path"),
    "EffectOperation.message": refuse(effect, f"{IO}.message", None, IO),
    "EffectOperation.notification": refuse(
        effect, f"{IO}.notification", ..., f"{IO}.notification.to"
    ),
    "EffectOperation.custom": refuse(effect, f"{IO}.custom", ..., f"{IO}.custom.type_url"),
    "WorkflowStep.step_id": refuse(workflow, f"{STEP}.step_id", "A"),
    "WorkflowStep.target_node": refuse(workflow, f"{STEP}.target_node", "effect"),
    "WorkflowStep.effect": refuse(workflow, f"{STEP}.effect", ..., f"{STEP}.target_node"),
    "WorkflowStep.compute": refuse(workflow, f"{STEP}.compute", None, STEP),
    "WorkflowStep.reducer": refuse(workflow, f"{STEP}.reducer", ..., f"{STEP}.target_node"),
    "WorkflowStep.depends_on": refuse(
        workflow, f"{STEP}.depends_on", ["b"], f"{STEP}.depends_on[0]"
    ),
    "WorkflowStep.bindings": Refused(
        workflow,
        lambda m: m.workflow_config.steps[0].bindings.add(field="input_data"),
        f"{STEP}.bindings[0].expression",
    ),
    "WorkflowStep.timeout": refuse(workflow, f"{STEP}.timeout", ...),
    "WorkflowStep.within": refuse(workflow, f"{STEP}.within", ...),
    "Binding.field": Refused(
        workflow,
        lambda m: m.workflow_config.steps[0].bindings.add(expression="1"),
        f"{STEP}.bindings[0].field",
    ),
    "Binding.expression": Refused(
        workflow,
        lambda m: m.workflow_config.steps[0].bindings.add(field="f", expression="x" * 4097),
        f"{STEP}.bindings[0].expression",
    ),
    "WorkflowConfig.coordination_type": refuse(workflow, "workflow_config.coordination_type", 0),
    "WorkflowConfig.steps": refuse(workflow, "workflow_config.steps", None),
    "ConflictResolution.retry_conditions": refuse(
        workflow,
        "conflict_resolution.retry_conditions",
        ["unavailable"],
        "conflict_resolution.retry_conditions[0]",
    ),
    "ModelContractOrchestrator.correlation_id": refuse(workflow, "correlation_id", "x"),
    "ModelContractOrchestrator.workflow_id": refuse(workflow, "workflow_id", ""),
    "ModelContractOrchestrator.workflow_config": refuse(workflow, "workflow_config", None),
    "ExecuteActionRequest.workflow_id": refuse(execute_action, "workflow_id", ""),
    "ExecuteActionRequest.fence": refuse(execute_action, "fence", 0),
    "ExecuteActionRequest.lease_token": refuse(execute_action, "lease_token", ""),
    "ExecuteActionRequest.action": refuse(execute_action, "action", None),
    "GetWorkflowRequest.workflow_id": refuse(
        lambda: orchestrator_pb2.GetWorkflowRequest(workflow_id="w"), "workflow_id", ""
    ),
    "ListWorkflowHistoryRequest.workflow_id": refuse(
        lambda: orchestrator_pb2.ListWorkflowHistoryRequest(workflow_id="w"), "workflow_id", ""
    ),
    "ListWorkflowHistoryRequest.after_epoch": refuse(
        lambda: orchestrator_pb2.ListWorkflowHistoryRequest(workflow_id="w"),
        "after_epoch",
        2**63,
    ),
    "ListActionsRequest.workflow_id": refuse(TRAIL, "workflow_id", ""),
    "ListActionsRequest.page_size": refuse(TRAIL, "page_size", 1001),
    "ListActionsRequest.page_token": refuse(TRAIL, "page_token", "t" * 201),
    "ListStateHistoryRequest.state_key": refuse(
        lambda: reducer_pb2.ListStateHistoryRequest(state_key="k"), "state_key", ""
    ),
    "ListStateHistoryRequest.after_version": refuse(
        lambda: reducer_pb2.ListStateHistoryRequest(state_key="k"), "after_version", 2**63
    ),
    "ReductionConfig.state_key": refuse(reducer, "reduction_config.state_key", "k" * 201),
    "ReducerInput.action": refuse(reducer, "input_data.action", ""),
    "ModelContractReducer.correlation_id": refuse(reducer, "correlation_id", "x"),
    "ModelContractReducer.reduction_config": refuse(reducer, "reduction_config", None),
    "ModelContractReducer.input_data": refuse(reducer, "input_data", None),
    "ModelContractReducer.action_id": refuse(reducer, "action_id", "x"),
    "NodeDescriptor.contract": refuse(descriptor, "contract", ..., "contract.service"),
    "NodeContract.service": refuse(generated, "contract.service", "shop.v1."),
    "NodeContract.fingerprint": refuse(generated, "contract.fingerprint", "1.0.0:0123456789AB"),
    "NodeContract.state": refuse(generated, "contract.state", "an order"),
    "NodeContract.emits": refuse(
        generated, "contract.emits", ["shop.v1.Mail"], "contract.emits[0]"
    ),
    "RegisteredNode.node": refuse(registering, "node.node", None),
    "RegisteredNode.instance": refuse(registering, "node.instance", "a/b"),
    "RegisteredNode.address": refuse(registering, "node.address", "0.0.0.0:50052"),
    "RegisteredNode.store_id": refuse(registering, "node.store_id", "mine"),
    "RegisteredNode.registered_at": refuse(registering, "node.registered_at", ...),
    "RegisterNodeRequest.node": refuse(registering, "node", None),
    **{
        f"{asked().DESCRIPTOR.name}.{field}": refuse(asked, field, value)
        for asked in (registry_pb2.ListNodesRequest, registry_pb2.WatchNodesRequest)
        for field, value in (("node_type", 9), ("name", "N"))
    },
    "GetStateRequest.state_key": refuse(
        lambda: reducer_pb2.GetStateRequest(state_key="k"), "state_key", ""
    ),
}

SHOWN: Final[dict[str, str]] = {
    field: test
    for test, fields in tomllib.loads((HERE / "shown_elsewhere.toml").read_text()).items()
    for field in fields
}


def fields_of(descriptor: Descriptor) -> Iterator[str]:
    for field in descriptor.fields:
        yield f"{descriptor.name}.{field.name}"


def all_fields() -> list[str]:
    modules = [
        importlib.import_module(f"onex.v1.{module.name}")
        for module in pkgutil.iter_modules(onex.v1.__path__)
        if module.name.endswith("_pb2")
    ]
    return [
        field
        for module in modules
        for descriptor in module.DESCRIPTOR.message_types_by_name.values()
        for field in fields_of(descriptor)
    ]


def test_every_field_has_an_entry() -> None:
    fields = all_fields()
    entries = [*REFUSED, *SHOWN]
    assert sorted(entries) == sorted(set(entries)), "a field has two entries"
    assert sorted(set(fields) - set(entries)) == [], "fields that nothing enforces"
    assert sorted(set(entries) - set(fields)) == [], "entries of fields that are gone"


@pytest.mark.parametrize("field", sorted(REFUSED))
def test_another_value_is_refused(field: str) -> None:
    root, edit, path = REFUSED[field]
    message = root()
    check(message)
    edit(message)
    with pytest.raises((ContractValidationError, UnimplementedError)) as caught:
        check(message)
    assert path in [violation.field for violation in caught.value.violations]


@cache
def cases_of(file: str) -> frozenset[str]:
    text = (TESTS / file).read_text(encoding="utf-8")
    return frozenset(re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE))


@pytest.mark.parametrize("field", sorted(SHOWN))
def test_another_value_gives_another_result(field: str) -> None:
    file, _, name = SHOWN[field].partition("::")
    assert name in cases_of(file)
