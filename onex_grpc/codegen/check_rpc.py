"""The check of how rpcs are carried out, and that an effect or workflow is known by its request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.duration_pb2 import Duration

from onex.v1 import common_pb2
from onex_grpc.codegen.check_node import kind_of
from onex_grpc.codegen.check_scope import simple_name
from onex_grpc.codegen.fault import Fault
from onex_grpc.contract.rules.common import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from google.protobuf.message import Message

    from onex.v1 import options_pb2
    from onex_grpc.codegen.check_scope import Scope
    from onex_grpc.codegen.schema import NodeRecord, RpcRecord
    from onex_grpc.errors import Violation

_ALLOWED: Final = {
    "idempotent": ("effect",),
    "retry": ("effect", "orchestrator"),
    "cacheable": ("compute",),
    "in_thread": ("compute",),
}
_TIMEOUT: Final = "write timeout: {seconds: 10}"
_BY_REQUEST: Final = (common_pb2.NODE_TYPE_EFFECT, common_pb2.NODE_TYPE_ORCHESTRATOR)


def check_operations(scope: Scope, node: NodeRecord) -> Iterator[Fault]:
    """The (onex.v1.operation) of each rpc: fit for kind and form, with values that make sense."""
    kind = kind_of(node)
    for rpc in node.rpcs:
        if rpc.operation is None:
            continue
        name = f"{simple_name(node.service)}.{rpc.name}"
        found = [*_misfits(kind, rpc, rpc.operation)] if kind else []
        for field, what, remedy in (*found, *_values(rpc.operation)):
            place = scope.of_operation(node.service, rpc.name, field)
            yield Fault(place, f"{name} {what}", remedy)


def check_request_types(scope: Scope, node: NodeRecord) -> Iterator[Fault]:
    """That an effect's or orchestrator's rpcs differ in their requests.

    The generic door knows which rpc is meant by the type of the request alone.
    """
    if node.options.type not in _BY_REQUEST:
        return
    first: dict[str, str] = {}
    for rpc in node.rpcs:
        known = first.setdefault(rpc.request.full_name, rpc.name)
        if known != rpc.name:
            yield Fault(
                scope.of_rpc(node.service, rpc.name),
                f"{simple_name(node.service)}.{rpc.name} has the same request as {known},"
                f" {rpc.request.full_name}",
                f"give each rpc of an {kind_of(node)} its own request message",
            )


def _misfits(
    kind: str, rpc: RpcRecord, operation: options_pb2.OperationOptions
) -> Iterator[tuple[str, str, str]]:
    given = {field.name for field, _ in operation.ListFields()}
    for field, kinds in _ALLOWED.items():
        if field not in given:
            continue
        if kind not in kinds:
            allowed = " or ".join(f"{each}s" for each in kinds)
            yield field, f"is of kind {kind} and has {field}", f"remove it: only {allowed} have it"
        elif (rpc.request_streaming or rpc.response_streaming) and kind != "orchestrator":
            yield field, f"is a streaming rpc and has {field}", "remove it: only unary rpcs have it"
        elif field == "retry" and kind == "effect" and not operation.idempotent:
            yield (
                field,
                "has retry and is not idempotent",
                "write idempotent: true if it does no harm twice, else remove retry",
            )


def _values(operation: options_pb2.OperationOptions) -> Iterator[tuple[str, str, str]]:
    if operation.HasField("timeout"):
        timeout = operation.timeout
        if found := _violations(timeout):
            yield "timeout", f"has a timeout that {found[0].description}", _TIMEOUT
        elif (timeout.seconds, timeout.nanos) <= (0, 0):
            yield "timeout", "has a timeout that is not above 0 s", _TIMEOUT
    if operation.HasField("retry"):
        for violation in _retry_violations(operation.retry):
            yield (
                "retry",
                f"has a retry whose {violation.field} {violation.description}",
                "see onex.v1.RetryPolicy for what is allowed",
            )


def _retry_violations(retry: common_pb2.RetryPolicy) -> Sequence[Violation]:
    found = _violations(retry)
    for field, span in retry.ListFields():
        if isinstance(span, Duration):
            known = {violation.field for violation in found}
            inner = _violations(span)
            found += [type(v)(field.name, v.description) for v in inner if field.name not in known]
    return found


def _violations(message: Message) -> list[Violation]:
    found: list[Violation] = []
    for rule in RULES[type(message)]:
        rule(message, found)
    return found
