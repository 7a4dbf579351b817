"""The check of the effects that a reducer may ask for."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from onex.v1 import common_pb2
from onex_grpc.codegen.check_scope import did_you_mean, simple_name
from onex_grpc.codegen.fault import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onex_grpc.codegen.check_scope import Scope
    from onex_grpc.codegen.schema import NodeRecord

_RPC: Final = re.compile(r"\w+(\.\w+)*/\w+", re.ASCII)


def check_emits(scope: Scope, node: NodeRecord) -> Iterator[Fault]:
    """The rpcs of effects that a reducer may ask for by intents."""
    service = simple_name(node.service)
    if not node.options.emits:
        return
    if node.options.type != common_pb2.NODE_TYPE_REDUCER:
        yield Fault(
            scope.of_node(node, "emits"),
            f"{service} has emits and is no reducer",
            "remove it: only reducers ask for effects by intents; others have depends_on",
        )
        return
    for name, count in Counter(node.options.emits).items():
        what, remedy = _fault(scope, name)
        if count > 1 and not what:
            what, remedy = f"emits {name} {count} times", "name it once"
        if what:
            yield Fault(scope.of_node(node, "emits"), f"{service} {what}", remedy)
    effects = sorted(
        {name.partition("/")[0] for name in node.options.emits if not _fault(scope, name)[0]}
    )
    if len(effects) > 1:
        yield Fault(
            scope.of_node(node, "emits"),
            f"{service} emits rpcs of {' and '.join(effects)}, but its intents are one queue, of"
            " which an effect takes all or none",
            "put the rpcs into one effect, or let an orchestrator call the other",
        )


def _fault(scope: Scope, name: str) -> tuple[str, str]:
    if not _RPC.fullmatch(name):
        return f"emits {name!r}, which is no rpc", "write package.Service/Rpc"
    service, _, rpc = name.partition("/")
    if service not in scope.services:
        return (
            f"emits {name}, and there is no service {service} in these files",
            "import its file or add it to the command" + did_you_mean(service, scope.services),
        )
    node = scope.schema.nodes.get(service)
    if node is None:
        return (
            f"emits {name}, and {service} is no node",
            f"give {simple_name(service)} the option (onex.v1.node)",
        )
    if node.options.type != common_pb2.NODE_TYPE_EFFECT:
        return f"emits {name}, and {service} is no effect", "name an rpc of an effect"
    record = scope.rpcs.get(name)
    if record is None:
        names = [each.name for each in node.rpcs]
        return (
            f"emits {name}, and {simple_name(service)} has no rpc {rpc}",
            f"write one of {', '.join(names)}{did_you_mean(rpc, names)}",
        )
    if record.request_streaming or record.response_streaming:
        return (
            f"emits {name}, which is a streaming rpc",
            "name a unary one: an intent is one message",
        )
    return "", ""
