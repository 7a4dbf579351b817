"""The check of what every node says of itself: kind, version, name, at least one rpc."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from onex.v1 import common_pb2
from onex_grpc.codegen.check_scope import simple_name
from onex_grpc.codegen.fault import Fault
from onex_grpc.contract.node import NAME_PATTERN, SEMVER_PATTERN, kind_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onex_grpc.codegen.check_scope import Scope
    from onex_grpc.codegen.schema import NodeRecord

_KINDS: Final = ", ".join(common_pb2.NodeType.keys()[1:])
_NAME: Final = re.compile(NAME_PATTERN)
_SEMVER: Final = re.compile(SEMVER_PATTERN)


def kind_of(node: NodeRecord) -> str:
    """The kind as it stands in targets, e.g. effect; empty where the options give none."""
    return kind_name(node.options.type) if 1 <= node.options.type <= 4 else ""


def check_node(scope: Scope, node: NodeRecord) -> Iterator[Fault]:
    """Kind, version and name of one node, and that it offers something."""
    service, options = simple_name(node.service), node.options
    if not options.type:
        yield Fault(
            scope.of_node(node, "type"), f"{service} has no type", f"write type: one of {_KINDS}"
        )
    elif not kind_of(node):
        yield Fault(
            scope.of_node(node, "type"),
            f"{service} has the type {options.type}, which this version does not know",
            f"write one of {_KINDS}, or generate with a newer onex-grpc",
        )
    if not options.version:
        yield Fault(
            scope.of_node(node, "version"), f"{service} has no version", 'write version: "1.0.0"'
        )
    elif not _SEMVER.fullmatch(options.version):
        yield Fault(
            scope.of_node(node, "version"),
            f"{service} has the version {options.version!r}, which is not a semantic version",
            "write three numbers as in 1.0.0 (semver.org)",
        )
    if not _NAME.fullmatch(node.name):
        yield _wrong_name(scope, node)
    if not node.rpcs:
        yield Fault(
            scope.of_service(node.service),
            f"{service} has no rpcs, so its node could do nothing",
            "add an rpc, or remove the option (onex.v1.node)",
        )


def check_node_names(scope: Scope) -> Iterator[Fault]:
    """That no two nodes of a run have one kind and name."""
    known: dict[tuple[int, str], NodeRecord] = {}
    generated = {node.service for node in scope.generated}
    others = [node for node in scope.schema.nodes.values() if node.service not in generated]
    for node in (*others, *scope.generated):
        first = known.setdefault((node.options.type, node.name), node)
        if first is not node and node.service in generated and kind_of(node):
            yield Fault(
                scope.of_node(node, "name"),
                f"{simple_name(node.service)} is the node {kind_of(node)}/{node.name}, and so is"
                f" {first.service} ({scope.of_node(first)})",
                "give one of them another name",
            )


def _wrong_name(scope: Scope, node: NodeRecord) -> Fault:
    service = simple_name(node.service)
    if node.options.name:
        return Fault(
            scope.of_node(node, "name"),
            f"{service} has the name {node.name!r}, which does not match {NAME_PATTERN}",
            "write lower-case letters, digits and hyphens, at most 48, a letter first",
        )
    return Fault(
        scope.of_node(node),
        f"{service} has no name, and {node.name!r}, made of the service's, does not match"
        f" {NAME_PATTERN}",
        "give it a name",
    )
