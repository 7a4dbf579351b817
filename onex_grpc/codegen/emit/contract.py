"""Constants: the rpcs of a node and its contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex.v1 import common_pb2
from onex_grpc.codegen.emit.signature import service_name
from onex_grpc.codegen.names import constant_name
from onex_grpc.codegen.writer import exploded, quote, strings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf import duration_pb2

    from onex.v1 import options_pb2
    from onex_grpc.codegen.emit.page import Page
    from onex_grpc.codegen.schema import MessageType, NodeRecord, RpcRecord, Schema

_DURATION = "google/protobuf/duration.proto"


def kind_of(node: NodeRecord) -> str:
    """REDUCER for a reducer: the kind's constant in the frozen module."""
    return common_pb2.NodeType.Name(node.options.type).removeprefix("NODE_TYPE_")


def node_id(node: NodeRecord) -> str:
    """The node as `kind/name`."""
    return f"{kind_of(node).lower()}/{node.name}"


def emit_contract(page: Page, node: NodeRecord, fingerprint: str) -> None:
    """Writes the constants of a node's rpcs and of its contract."""
    for rpc in node.rpcs:
        page.out.block(
            exploded(
                f"{page.rpc_constant(node, rpc)} = {page.onex('Rpc')}(",
                list(_rpc_arguments(page, node, rpc)),
                ")",
            )
        )
        page.out.blank(1)
    head = f"{constant_name(node.base)} = {page.onex('Contract')}("
    page.out.block(exploded(head, list(_contract_arguments(page, node, fingerprint)), ")"))
    page.out.doc(f"The contract of {service_name(node)}.")


def _rpc_arguments(page: Page, node: NodeRecord, rpc: RpcRecord) -> Iterator[str]:
    yield f"service={quote(node.service)}"
    yield f"name={quote(rpc.name)}"
    yield f"method={quote(rpc.method)}"
    yield f"request={page.message(rpc.request)}"
    yield f"response={page.message(rpc.response)}"
    if rpc.request_streaming:
        yield "request_streaming=True"
    if rpc.response_streaming:
        yield "response_streaming=True"
    if rpc.operation is not None:
        yield from _operation_arguments(page, rpc.operation)


def _operation_arguments(page: Page, operation: options_pb2.OperationOptions) -> Iterator[str]:
    if operation.HasField("timeout"):
        yield f"timeout={_seconds(operation.timeout)}"
    if operation.idempotent:
        yield "idempotent=True"
    if operation.HasField("retry"):
        yield f"retry={_retry(page, operation)}"
    if operation.cacheable:
        yield "cacheable=True"
    if operation.in_thread:
        yield "in_thread=True"


def _seconds(duration: duration_pb2.Duration) -> str:
    return repr(duration.seconds + duration.nanos / 1_000_000_000)


def _retry(page: Page, operation: options_pb2.OperationOptions) -> str:
    policy = operation.retry
    arguments = []
    if policy.HasField("max_retries"):
        arguments.append(f"max_retries={policy.max_retries}")
    if policy.HasField("initial_backoff"):
        arguments.append(f"initial_backoff={_duration(page, policy.initial_backoff)}")
    if policy.HasField("max_backoff"):
        arguments.append(f"max_backoff={_duration(page, policy.max_backoff)}")
    if policy.HasField("multiplier"):
        arguments.append(f"multiplier={policy.multiplier!r}")
    head = f"{page.onex('RetryPolicy')}("
    return exploded(head, arguments, ")") if len(arguments) > 1 else f"{head}{''.join(arguments)})"


def _duration(page: Page, duration: duration_pb2.Duration) -> str:
    arguments = [f"seconds={duration.seconds}"]
    if duration.nanos:
        arguments.append(f"nanos={duration.nanos}")
    return f"{page.imports.stubs(_DURATION)}.Duration({', '.join(arguments)})"


def _contract_arguments(page: Page, node: NodeRecord, fingerprint: str) -> Iterator[str]:
    nodes = page.schema.nodes
    yield f"service={quote(node.service)}"
    yield f"kind={page.onex(kind_of(node))}"
    yield f"name={quote(node.name)}"
    yield f"version={quote(node.options.version)}"
    yield f"fingerprint={quote(fingerprint)}"
    if node.options.depends_on:
        called = dict.fromkeys(node_id(nodes[name]) for name in node.options.depends_on)
        yield f"depends_on={strings(list(called))}"
    if node.options.emits:
        yield f"emits={strings(list(dict.fromkeys(node.options.emits)))}"
    if node.options.key:
        yield f"key={quote(node.options.key)}"
    if any(message.full_name in page.schema.constrained for message in _used(page.schema, node)):
        yield "constrained=True"
    rpcs = [page.rpc_constant(node, rpc) for rpc in node.rpcs]
    flat = ", ".join(rpcs) + ("," if len(rpcs) == 1 else "")
    yield f"rpcs=({flat})" if len(flat) < 80 else exploded("rpcs=(", rpcs, ")")
    yield f"source={quote(page.file)}"


def _used(schema: Schema, node: NodeRecord) -> Iterator[MessageType]:
    for rpc in node.rpcs:
        yield rpc.request
        yield rpc.response
    if node.options.state in schema.messages:
        yield schema.messages[node.options.state]
