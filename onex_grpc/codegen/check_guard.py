"""The check of guards: each compiles against the state and the request, and is true or false."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.codegen.check_scope import simple_name
from onex_grpc.codegen.fault import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onex_grpc.codegen.check_scope import Scope
    from onex_grpc.codegen.schema import MessageType, NodeRecord


def check_guards(scope: Scope, node: NodeRecord, state: MessageType) -> Iterator[Fault]:
    """The guards of a node's transitions, over `state` and `action`, the request."""
    for rpc in node.rpcs:
        for index, transition in enumerate(rpc.transitions):
            if not transition.guard:
                continue
            fault = scope.guards.fault(transition.guard, state, rpc.request)
            if fault:
                yield Fault(
                    scope.of_transition(node.service, rpc.name, index),
                    f"guard of {simple_name(node.service)}.{rpc.name}: {fault}",
                    f"write CEL over state ({state.full_name}) and action"
                    f" ({rpc.request.full_name}) that is true or false",
                )
