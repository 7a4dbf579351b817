"""Routes: what a worker must be able to do to be given an intent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onex.v1 import intent_pb2

ROUTE_PATTERN: Final = r"(?s)(?:custom|target)/.{1,500}"
MOST_ROUTES: Final = 1000
"""So many routes a worker may accept."""


def route_of(intent: intent_pb2.ModelIntent) -> str:
    """The route of an intent: by the message of an operation of the user's own, by the target of
    any other.
    """
    if intent.payload.WhichOneof("operation") == "custom":
        return custom_route(intent.payload.custom.TypeName(), intent.target)
    return target_route(intent.target)


def custom_route(message: str, target: str = "") -> str:
    """The route of operations for messages of this full name, at a target or without one."""
    return f"custom/{message}/{target}" if target else f"custom/{message}"


def target_route(target: str) -> str:
    """The route of the mesh's own operations at a target."""
    return f"target/{target}"
