"""Rules of operation.proto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from onex.v1 import operation_pb2
from onex_grpc.contract.rule import (
    Found,
    Rule,
    between,
    count,
    each_matching,
    keys,
    matching,
    one_of,
    text,
)
from onex_grpc.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

_TABLE: Final = text("table", 128)
_COLUMN: Final = r"(?s).{1,128}"


def _columns_in(field: str) -> Rule:
    def rule(message: Message, found: Found) -> None:
        if not getattr(message, field).columns:
            found.append(Violation(field, "has no columns; at least one is needed"))

    return rule


def _path_stays_inside(message: Message, found: Found) -> None:
    path = cast("operation_pb2.FileOperation", message).path
    if not path or len(path) > 4096 or "\0" in path:
        found.append(Violation("path", "is empty, longer than 4096 characters or has a NUL"))
    elif path[0] in "/\\" or ".." in path.replace("\\", "/").split("/"):
        found.append(
            Violation(
                "path", f"{path[:60]!r} leaves the target's root; write it relative to that root"
            )
        )


RULES: Final[Mapping[type[Message], Sequence[Rule]]] = {
    operation_pb2.EffectOperation: (one_of("operation"),),
    operation_pb2.Row: (keys("columns", 128),),
    operation_pb2.DatabaseOperation: (count("statements", 1, 100),),
    operation_pb2.DatabaseStatement: (one_of("statement"),),
    operation_pb2.DatabaseInsert: (_TABLE, _columns_in("row")),
    operation_pb2.DatabaseUpsert: (
        _TABLE,
        _columns_in("row"),
        count("key_columns", 1, 100),
        each_matching("key_columns", _COLUMN),
    ),
    operation_pb2.DatabaseUpdate: (_TABLE, _columns_in("row"), _columns_in("where")),
    operation_pb2.DatabaseDelete: (_TABLE, _columns_in("where")),
    operation_pb2.DatabaseSelect: (
        _TABLE,
        each_matching("columns", _COLUMN),
        between("limit", 0, 10_000),
    ),
    operation_pb2.FileOperation: (_path_stays_inside, one_of("action")),
    operation_pb2.MessagePublish: (text("event_type", 200), text("key", 1024, shortest=0)),
    operation_pb2.Notification: (
        text("template", 128),
        # A line break in an address would smuggle headers into the message.
        matching("to", r"[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]{0,318}[^\x00-\x20\x7f])?"),
        keys("data", 128),
    ),
}
