"""Labels of which each making has other bytes: maps and Anys two deep, in any order."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from tests.identity.scattered import Content, label

if TYPE_CHECKING:
    from depot.v1 import depot_pb2

# Of the system: no two processes, and no two makings in one, agree on an order.
_CHANCE: Final = random.SystemRandom()
_PLACES: Final = ("north", "south", "east", "west", "home")


def label_of(name: str) -> depot_pb2.Label:
    """The label of a name: the same content each time, in other bytes."""
    flat = dict.fromkeys(_PLACES, name)
    deep = dict.fromkeys(_PLACES[:3], flat)
    inner = Content(detail=deep, tags=dict.fromkeys(_PLACES[:2], flat))
    return label(
        Content(
            detail=inner,
            notes=[flat, inner],
            tags=dict.fromkeys(_PLACES[:3], flat),
            sealed=deep,
            named={place: Content(detail=flat) for place in _PLACES[:2]},
        ),
        _CHANCE,
    )
