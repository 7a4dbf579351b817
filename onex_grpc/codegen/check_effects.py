"""The check of the effects that a reducer may ask for."""

from __future__ import annotations

import itertools
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
    emitted = [name for name in dict.fromkeys(node.options.emits) if not _fault(scope, name)[0]]
    for name, other in _confusable(scope, emitted):
        message = scope.rpcs[name].request.full_name
        yield Fault(
            scope.of_node(node, "emits"),
            f"{service} emits {name}, and {other} has the same request, {message}:"
            " an intent finds its effect by the request's message",
            "give one of them a request message of its own",
        )


def _confusable(scope: Scope, emitted: list[str]) -> Iterator[tuple[str, str]]:
    """Rpcs that are asked for, each with one of another effect at the queue that has its request;
    each pair once.
    """
    services = sorted({name.partition("/")[0] for name in emitted})
    told: set[tuple[str, str]] = set()
    for name, service in itertools.product(emitted, services):
        if service == name.partition("/")[0]:
            continue
        message = scope.rpcs[name].request.full_name
        for rpc in scope.schema.nodes[service].rpcs:
            other = f"{service}/{rpc.name}"
            takes_intents = not rpc.request_streaming and not rpc.response_streaming
            has_same = rpc.request.full_name == message
            if takes_intents and has_same and (other, name) not in told:
                told.add((name, other))
                yield name, other


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
