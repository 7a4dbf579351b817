"""One pair: both sides work on the same figure, in turns of some milliseconds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bench.pairs.figures import Figure
    from bench.pairs.rigs import Rig

# The speed of a shared machine changes within a tenth of a second, by a factor of two at times:
# what is measured in turns shorter than that is slowed down alike.
_TURN_SECONDS: Final = 0.025
_ROUNDS: Final = 10
_WARM_UP_SECONDS: Final = 0.06


def measure_pair(figure: Figure, first: Rig, second: Rig) -> tuple[float, float]:
    """Return calls a second of both; each has the machine for itself for half of the time."""
    try:
        second.hold()
        began = [_begin(figure, first)]
        _pass(first, second)
        began.append(_begin(figure, second))
        second.hold()
        for number in range(_ROUNDS):
            for rig in (first, second) if number % 2 else (second, first):
                rig.release()
                time.sleep(_TURN_SECONDS)
                rig.hold()
        first.release()
        ended = [_end(figure, first)]
        _pass(first, second)
        ended.append(_end(figure, second))
    finally:
        first.release()
        second.release()
    one, other = (_rate(*marks) for marks in zip(began, ended, strict=True))
    return one, other


def _pass(one: Rig, other: Rig) -> None:
    one.hold()
    other.release()


def _begin(figure: Figure, rig: Rig) -> tuple[int, float]:
    rig.start(figure)
    time.sleep(_WARM_UP_SECONDS)
    return rig.mark(figure)


def _end(figure: Figure, rig: Rig) -> tuple[int, float]:
    mark = rig.mark(figure)
    rig.stop(figure)
    return mark


def _rate(began: tuple[int, float], ended: tuple[int, float]) -> float:
    return (ended[0] - began[0]) / (ended[1] - began[1])
