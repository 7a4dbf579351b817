"""Workflows: graphs of steps and code of the user's own, their durable execution and recovery."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onex_grpc.workflow.calls import StepCall, StepCalls, WorkflowCall
    from onex_grpc.workflow.handlers import WorkflowHandler, WorkflowHandlers

__all__ = ["StepCall", "StepCalls", "WorkflowCall", "WorkflowHandler", "WorkflowHandlers"]

# Modules of this package import each other; what they do not need is not loaded with it.
_MODULES: Final = {
    "StepCall": "calls",
    "StepCalls": "calls",
    "WorkflowCall": "calls",
    "WorkflowHandler": "handlers",
    "WorkflowHandlers": "handlers",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
