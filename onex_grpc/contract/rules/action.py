"""Rules of action.proto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from onex.v1 import action_pb2
from onex_grpc.contract.node import TARGET_PATTERN
from onex_grpc.contract.rule import (
    Found,
    Rule,
    among,
    chosen,
    matching,
    one_of,
    optional_uuid,
    present,
    text,
    uuid,
)
from onex_grpc.contract.rules.common import LARGEST_VERSION
from onex_grpc.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

_NEED_EPOCH: Final = (
    action_pb2.ACTION_TYPE_START_WORKFLOW,
    action_pb2.ACTION_TYPE_UPDATE_STATE,
    action_pb2.ACTION_TYPE_CHECKPOINT_STATE,
    action_pb2.ACTION_TYPE_ROLLBACK_STATE,
)
_COMMAND_OF: Final[Mapping[int, str]] = {
    action_pb2.ACTION_TYPE_START_WORKFLOW: "state",
    action_pb2.ACTION_TYPE_UPDATE_STATE: "state",
    action_pb2.ACTION_TYPE_CHECKPOINT_STATE: "checkpoint",
    action_pb2.ACTION_TYPE_ROLLBACK_STATE: "rollback",
}
_OF_THE_WORKFLOW: Final = frozenset(_COMMAND_OF.values())


def _epoch_given(message: Message, found: Found) -> None:
    action = cast("action_pb2.ModelAction", message)
    if action.action_type in _NEED_EPOCH and not action.HasField("epoch"):
        name = action_pb2.ActionType.Name(action.action_type)
        found.append(
            Violation(
                "epoch", f"is absent; {name} needs the epoch that it expects (absent is not 0)"
            )
        )


def _command_agrees(message: Message, found: Found) -> None:
    action = cast("action_pb2.ModelAction", message)
    command = action.command_payload.WhichOneof("command")
    if action.action_type == action_pb2.ACTION_TYPE_ABORT_WORKFLOW:
        if action.HasField("command_payload"):
            found.append(Violation("command_payload", "must not be set: ABORT_WORKFLOW has none"))
        _aimed_at(action, "orchestrator", found)
        return
    if not action.HasField("command_payload"):
        # An action without a type is told that first: what it must carry depends on it.
        if action.action_type:
            found.append(Violation("command_payload", "is missing"))
        return
    if command is None:
        return
    needed = _COMMAND_OF.get(action.action_type, command)
    if command != needed:
        found.append(
            Violation(f"command_payload.{command}", f"does not fit; the command is `{needed}`")
        )
    elif action.action_type == action_pb2.ACTION_TYPE_DELEGATE_TASK and command in _OF_THE_WORKFLOW:
        found.append(
            Violation(
                f"command_payload.{command}", "does not fit; delegate effect, compute or reducer"
            )
        )
    _aimed_at(action, "orchestrator" if command in _OF_THE_WORKFLOW else command, found)


def _aimed_at(action: action_pb2.ModelAction, kind: str, found: Found) -> None:
    if action.target_node.partition("/")[0] != kind:
        found.append(
            Violation(
                "target_node",
                f"does not fit the command, which is for {kind}",
            )
        )


def _goal_given(message: Message, found: Found) -> None:
    rollback = cast("action_pb2.RollbackCommand", message)
    goal = rollback.WhichOneof("to")
    if goal == "epoch" and not 1 <= rollback.epoch <= LARGEST_VERSION:
        found.append(Violation("epoch", "is none that a state was written in; give 1 or more"))
    elif goal == "checkpoint" and not 1 <= len(rollback.checkpoint) <= 200:
        found.append(Violation("checkpoint", "is no name; give 1 to 200 characters"))


RULES: Final[Mapping[type[Message], Sequence[Rule]]] = {
    action_pb2.ModelAction: (
        uuid("action_id"),
        chosen("action_type"),
        uuid("lease_id"),
        _epoch_given,
        matching("target_node", TARGET_PATTERN),
        _command_agrees,
        optional_uuid("correlation_id"),
        present("issued_at"),
        among(
            "status",
            (action_pb2.ACTION_STATUS_UNSPECIFIED, action_pb2.ACTION_STATUS_PENDING),
        ),
        optional_uuid("parent_action_id"),
    ),
    action_pb2.ActionPayload: (one_of("command"),),
    action_pb2.CheckpointCommand: (text("name", 200),),
    action_pb2.RollbackCommand: (one_of("to"), _goal_given),
}
