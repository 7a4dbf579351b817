"""Names, kinds and versions of nodes, and the direction in which they may call each other."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from onex.v1 import common_pb2, node_pb2
from onex_grpc.errors import (
    ConfigurationError,
    ContractValidationError,
    FlowViolationError,
    Violation,
)

KIND_ORDER: Final = ("effect", "compute", "reducer", "orchestrator")
"""The kinds in the direction of the data's flow; a node depends only on kinds before its own."""

NAME_PATTERN: Final = r"[a-z][a-z0-9-]{0,47}"
TARGET_PATTERN: Final = rf"(?:{'|'.join(KIND_ORDER)})(?:/{NAME_PATTERN})?"
NODE_PATTERN: Final = rf"(?:{'|'.join(KIND_ORDER)})/{NAME_PATTERN}"
INSTANCE_PATTERN: Final = r"[A-Za-z0-9._-]{1,64}"
"""One of several processes of a node."""
# The expression that semver.org (2.0.0) recommends.
SEMVER_PATTERN: Final = (
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?"
)

_TARGET: Final = re.compile(TARGET_PATTERN)


class Target(NamedTuple):
    """Whom a call is for: any node of a kind, or the one with this name."""

    kind: str
    """One of KIND_ORDER."""
    name: str
    """Empty for any node of the kind."""


def parse_target(text: str) -> Target:
    """The kind and name in `kind` or `kind/name`.

    Raises:
        ContractValidationError: for any other text.
    """
    if not _TARGET.fullmatch(text):
        raise ContractValidationError.of(
            Violation("target_node", f"{text!r} is not `kind` or `kind/name`; kinds: {KIND_ORDER}")
        )
    kind, _, name = text.partition("/")
    return Target(kind, name)


def kind_name(node_type: int) -> str:
    """The kind as it stands in targets: NODE_TYPE_EFFECT is `effect`.

    Raises:
        ConfigurationError: for NODE_TYPE_UNSPECIFIED and unknown numbers.
    """
    if not 1 <= node_type <= len(KIND_ORDER):
        raise ConfigurationError(
            f"node_type {node_type} is not a kind of node; inherit from one of the four kinds"
        )
    return KIND_ORDER[node_type - 1]


def node_name(descriptor: node_pb2.NodeDescriptor) -> str:
    """The full name of a node, as `kind/name`."""
    return f"{kind_name(descriptor.node_type)}/{descriptor.name}"


def may_call(caller_kind: str, callee_kind: str) -> bool:
    """Whether a kind may call the other: orchestrators all, the rest only kinds before theirs, and
    what is no kind none.
    """
    if caller_kind == KIND_ORDER[-1]:
        return True
    if caller_kind not in KIND_ORDER:
        return False
    return KIND_ORDER.index(callee_kind) < KIND_ORDER.index(caller_kind)


def check_descriptor(descriptor: node_pb2.NodeDescriptor) -> None:
    """Refuses a descriptor that no node can serve under; called when a node is loaded.

    Raises:
        ConfigurationError: for a malformed name, kind, version or dependency; lists all.
        FlowViolationError: for a dependency on a kind that does not come before the node's own.
    """
    faults = list(_faults(descriptor))
    if faults:
        raise ConfigurationError(
            f"the descriptor of node {descriptor.name!r} is wrong: {'; '.join(faults)}"
        )
    own = descriptor.node_type
    for text in descriptor.depends_on:
        kind = parse_target(text).kind
        if KIND_ORDER.index(kind) + 1 >= own:
            raise FlowViolationError(
                f"{node_name(descriptor)} depends on {text}; only kinds before its own are"
                f" allowed ({' → '.join(KIND_ORDER)})",
                context={"node": node_name(descriptor), "depends_on": text},
            )


def _faults(descriptor: node_pb2.NodeDescriptor) -> list[str]:
    faults = []
    if not re.fullmatch(NAME_PATTERN, descriptor.name):
        faults.append(f"name {descriptor.name!r} does not match {NAME_PATTERN}")
    if descriptor.node_type not in common_pb2.NodeType.values() or not descriptor.node_type:
        faults.append("node_type is not a kind; inherit from one of the four kinds of node")
    if not re.fullmatch(SEMVER_PATTERN, descriptor.version):
        faults.append(f"version {descriptor.version!r} is not a semantic version such as 1.0.0")
    faults.extend(
        f"depends_on {text!r} is not `kind` or `kind/name`"
        for text in descriptor.depends_on
        if not _TARGET.fullmatch(text)
    )
    return faults
