"""The rules of the mesh's messages, one module a proto file, as the comments there promise."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from onex_grpc.contract.rules import (
    action,
    common,
    compute,
    effect,
    error,
    event,
    intent,
    lease,
    node,
    operation,
    orchestrator,
    reducer,
    registry,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onex_grpc.contract.rule import Rule

_MODULES = (
    action,
    common,
    compute,
    effect,
    error,
    event,
    intent,
    lease,
    node,
    operation,
    orchestrator,
    reducer,
    registry,
)


@cache
def table() -> Mapping[str, Sequence[Rule]]:
    """The rules by the full name of the message's type."""
    return {
        message.DESCRIPTOR.full_name: rules
        for module in _MODULES
        for message, rules in module.RULES.items()
    }
