"""Rules of orchestrator.proto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from onex.v1 import orchestrator_pb2
from onex_grpc.contract.node import TARGET_PATTERN
from onex_grpc.contract.rule import (
    Found,
    Rule,
    between,
    chosen,
    count,
    each_matching,
    matching,
    one_of,
    optional_uuid,
    positive,
    present,
    text,
    unbuilt,
)
from onex_grpc.contract.rules.common import LARGEST_VERSION, WORKFLOW_ID
from onex_grpc.contract.rules.lease import FENCE
from onex_grpc.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

_UNBUILT_PATTERNS: Final[Mapping[int, str]] = {
    orchestrator_pb2.WORKFLOW_COORDINATION_PIPELINE: "PIPELINE is not built: no streams of items",
    orchestrator_pb2.WORKFLOW_COORDINATION_EVENT_DRIVEN: (
        "EVENT_DRIVEN is not built: no waiting for events"
    ),
}
_WORKFLOW: Final = matching("workflow_id", WORKFLOW_ID)
_STEP_ID: Final = r"[a-z_][a-z0-9_]{0,63}"


def _target_fits(message: Message, found: Found) -> None:
    step = cast("orchestrator_pb2.WorkflowStep", message)
    kind = step.WhichOneof("parameters")
    if kind is not None and step.target_node.partition("/")[0] != kind:
        found.append(
            Violation(
                "target_node",
                f"does not fit the parameters, which are for {kind}",
            )
        )


def _forgive_bound_fields(message: Message, found: Found) -> None:
    # What a binding fills before the step starts may be missing here; the node checks it all then.
    step = cast("orchestrator_pb2.WorkflowStep", message)
    kind = step.WhichOneof("parameters")
    if kind is None or not found or not step.bindings:
        return
    bound = [f"{kind}.{binding.field}" for binding in step.bindings]
    found[:] = [f for f in found if not any(_touches(path, f.field) for path in bound)]


def _touches(bound: str, faulty: str) -> bool:
    if not faulty:
        return False
    shorter, longer = sorted((bound, faulty), key=len)
    return longer.startswith(shorter) and longer[len(shorter) : len(shorter) + 1] in ("", ".", "[")


def _steps_known(message: Message, found: Found) -> None:
    steps = cast("orchestrator_pb2.WorkflowConfig", message).steps
    ids = [step.step_id for step in steps]
    known = set(ids)
    if len(known) < len(ids):
        seen: set[str] = set()
        for index, step_id in enumerate(ids):
            if step_id in seen:
                found.append(
                    Violation(f"steps[{index}].step_id", f"{step_id[:64]!r} is not unique")
                )
            seen.add(step_id)
    for index, step in enumerate(steps):
        for position, name in enumerate(step.depends_on):
            if name not in known or name == ids[index]:
                path = f"steps[{index}].depends_on[{position}]"
                found.append(Violation(path, f"{name[:64]!r} is not another step"))


def _graph_or_message(message: Message, found: Found) -> None:
    contract = cast("orchestrator_pb2.ModelContractOrchestrator", message)
    if not (contract.HasField("workflow_config") or contract.initial_state.HasField("message")):
        found.append(
            Violation(
                "workflow_config",
                "is missing; without a graph, initial_state is the message whose type names the"
                " workflow",
            )
        )


RULES: Final[Mapping[type[Message], Sequence[Rule]]] = {
    orchestrator_pb2.ModelContractOrchestrator: (
        optional_uuid("correlation_id"),
        _WORKFLOW,
        _graph_or_message,
    ),
    orchestrator_pb2.WorkflowConfig: (
        chosen("coordination_type"),
        unbuilt("coordination_type", _UNBUILT_PATTERNS),
        count("steps", 1, 1000),
        _steps_known,
    ),
    orchestrator_pb2.WorkflowStep: (
        _forgive_bound_fields,
        matching("step_id", _STEP_ID),
        matching("target_node", TARGET_PATTERN),
        one_of("parameters"),
        _target_fits,
        count("depends_on", 0, 1000),
        count("bindings", 0, 1000),
        positive("timeout"),
        positive("within"),
    ),
    orchestrator_pb2.Binding: (
        matching("field", r"[a-z_][a-z0-9_]*(?:\.[A-Za-z0-9_-]+|\[[0-9]+\])*"),
        text("expression", 4096),
    ),
    orchestrator_pb2.ConflictResolution: (
        count("retry_conditions", 0, 100),
        each_matching("retry_conditions", r"[A-Z][A-Z0-9_]{0,63}"),
    ),
    orchestrator_pb2.ExecuteActionRequest: (
        _WORKFLOW,
        FENCE,
        text("lease_token", 4096),
        present("action"),
    ),
    orchestrator_pb2.GetWorkflowRequest: (_WORKFLOW,),
    orchestrator_pb2.ListWorkflowHistoryRequest: (
        _WORKFLOW,
        between("after_epoch", 0, LARGEST_VERSION),
    ),
    orchestrator_pb2.ListActionsRequest: (
        _WORKFLOW,
        between("page_size", 0, 1000),
        text("page_token", 200, shortest=0),
    ),
}
