"""Declared state machines: which action leads from which states to which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message


@dataclass(frozen=True, slots=True)
class Transition:
    """One edge of a state machine; states are the names of the enum's values.

    Attributes:
        action: the name by which callers ask for it.
        sources: the states in which it may happen.
        targets: the states in which it may end; the transition's code decides which.
        payload: the type of message that the action brings along; google.protobuf.Value for
            JSON-like data, None for nothing.
        guard: CEL over `state` and `action` (the payload) that must be true; empty for none. Of
            several transitions of one action from one state, whose guards must differ, the first
            whose guard holds is taken.
    """

    action: str
    sources: Sequence[str]
    targets: Sequence[str]
    payload: type[Message] | None = None
    guard: str = ""


@dataclass(frozen=True, slots=True)
class StateMachine:
    """A state machine over an enum field of the state's message.

    Attributes:
        field: the name of the enum field that holds the state.
        initial: the state of an entity to which nothing has happened yet.
        transitions: what may happen.
    """

    field: str
    initial: str
    transitions: Sequence[Transition]
