"""What generated modules import, and nothing else: its names keep their meaning within a level.

Everything here is loaded when it is first used: a compute node needs nothing of a reducer.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onex_grpc.typed.api import API_LEVEL, require_api
    from onex_grpc.typed.client import Caller, Client, Requests
    from onex_grpc.typed.compute import TypedCompute
    from onex_grpc.typed.contract import Contract, Rpc
    from onex_grpc.typed.effect import EffectCall, TypedEffect
    from onex_grpc.typed.intent import Intent
    from onex_grpc.typed.kinds import (
        BACKGROUND,
        COMPUTE,
        CRITICAL,
        EFFECT,
        HIGH,
        LOW,
        NORMAL,
        ORCHESTRATOR,
        REDUCER,
        IntentPriority,
        RetryPolicy,
    )
    from onex_grpc.typed.machine import Action, StateMachine, Transition
    from onex_grpc.typed.node import TypedNode
    from onex_grpc.typed.orchestrator import TypedOrchestrator, WorkflowCall, WorkflowMesh
    from onex_grpc.typed.reducer import TypedReducer
    from onex_grpc.typed.reduction import Reduction

__all__ = [
    "API_LEVEL",
    "BACKGROUND",
    "COMPUTE",
    "CRITICAL",
    "EFFECT",
    "HIGH",
    "LOW",
    "NORMAL",
    "ORCHESTRATOR",
    "REDUCER",
    "Action",
    "Caller",
    "Client",
    "Contract",
    "EffectCall",
    "Intent",
    "IntentPriority",
    "Reduction",
    "Requests",
    "RetryPolicy",
    "Rpc",
    "StateMachine",
    "Transition",
    "TypedCompute",
    "TypedEffect",
    "TypedNode",
    "TypedOrchestrator",
    "TypedReducer",
    "WorkflowCall",
    "WorkflowMesh",
    "require_api",
]

_MODULES: Final = {
    "API_LEVEL": "api",
    "Action": "machine",
    "BACKGROUND": "kinds",
    "COMPUTE": "kinds",
    "CRITICAL": "kinds",
    "Caller": "client",
    "Client": "client",
    "Contract": "contract",
    "EFFECT": "kinds",
    "EffectCall": "effect",
    "HIGH": "kinds",
    "Intent": "intent",
    "IntentPriority": "kinds",
    "LOW": "kinds",
    "NORMAL": "kinds",
    "ORCHESTRATOR": "kinds",
    "REDUCER": "kinds",
    "Reduction": "reduction",
    "Requests": "client",
    "RetryPolicy": "kinds",
    "Rpc": "contract",
    "StateMachine": "machine",
    "Transition": "machine",
    "TypedCompute": "compute",
    "TypedEffect": "effect",
    "TypedNode": "node",
    "TypedOrchestrator": "orchestrator",
    "TypedReducer": "reducer",
    "WorkflowCall": "orchestrator",
    "WorkflowMesh": "orchestrator",
    "require_api": "api",
}


# Type checkers would take the function for a promise that any name is there.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        # The next look-up finds it without coming here.
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
