"""The four kinds of node, which users inherit from."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onex_grpc.node.base import Node, Service
    from onex_grpc.node.compute import NodeCompute
    from onex_grpc.node.effect import NodeEffect
    from onex_grpc.node.orchestrator import NodeOrchestrator
    from onex_grpc.node.reducer import NodeReducer

__all__ = ["Node", "NodeCompute", "NodeEffect", "NodeOrchestrator", "NodeReducer", "Service"]

# A process serves one kind, and need not load what the others are made of.
_MODULES: Final = {
    "Node": "base",
    "NodeCompute": "compute",
    "NodeEffect": "effect",
    "NodeOrchestrator": "orchestrator",
    "NodeReducer": "reducer",
    "Service": "base",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
