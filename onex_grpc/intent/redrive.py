"""An operator's leave to do once more what must not be repeated, on its way to the effect."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

_redrives: Final[ContextVar[int]] = ContextVar("onex_redrives", default=0)


def enter_redrive(redrives: int) -> None:
    """Says of the current task how often its intent was redriven."""
    _redrives.set(redrives)


def current_redrive() -> int:
    """How often the intent of the current task was redriven; 0 outside of one."""
    return _redrives.get()
