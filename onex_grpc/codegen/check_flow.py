"""The check of dependencies: they exist, are nodes, and run in the direction of the flow."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from onex_grpc.codegen.check_node import kind_of
from onex_grpc.codegen.check_scope import did_you_mean, simple_name
from onex_grpc.codegen.fault import Fault
from onex_grpc.contract.node import KIND_ORDER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onex_grpc.codegen.check_scope import Scope
    from onex_grpc.codegen.schema import NodeRecord


def check_depends_on(scope: Scope, node: NodeRecord) -> Iterator[Fault]:
    """The services that a node depends on."""
    service = simple_name(node.service)
    for name, count in Counter(node.options.depends_on).items():
        what, remedy = _fault(scope, node, name)
        if count > 1 and not what:
            what, remedy = f"depends on {name} {count} times", "name it once"
        if what:
            yield Fault(scope.of_node(node, "depends_on"), f"{service} {what}", remedy)


def _fault(scope: Scope, node: NodeRecord, name: str) -> tuple[str, str]:
    if name == node.service:
        return "depends on itself", "remove it from depends_on"
    if name not in scope.services:
        return (
            f"depends on {name!r}, which is no service of these files",
            "write package.Service, and import its file or add it to the command"
            + did_you_mean(name, scope.services),
        )
    callee = scope.schema.nodes.get(name)
    if callee is None:
        return (
            f"depends on {name}, which is no node",
            f"give {simple_name(name)} the option (onex.v1.node)",
        )
    own, other = kind_of(node), kind_of(callee)
    if not other:
        return f"depends on {name}, which has no type", f"give {simple_name(name)} its type"
    if own and KIND_ORDER.index(other) >= KIND_ORDER.index(own):
        return (
            f"is of kind {own} and depends on {name}, which is of kind {other}",
            f"only kinds before its own are allowed ({' → '.join(KIND_ORDER)})",
        )
    return "", ""
