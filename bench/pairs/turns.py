"""One pair: both sides work on the same figure, in turns of some milliseconds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.pairs.figures import Figure
    from bench.pairs.rigs import Mark, Rig

# The speed of a shared machine changes within a tenth of a second, by a factor of two at times:
# what is measured in turns shorter than that is slowed down alike. A turn is long enough for some
# calls to end in it.
_SHORTEST_SECONDS: Final = 0.02
_LONGEST_SECONDS: Final = 0.25
_CALLS: Final = 10
_TURNS: Final = 12
_LEFT_OUT: Final = _TURNS // 4
_WARM_UP_SECONDS: Final = 0.04
_WARM_UP_LIMIT: Final = 1.0


class _Turn(NamedTuple):
    """The work of each side in two turns next to each other."""

    first: Mark
    second: Mark

    @property
    def ratio(self) -> float:
        return _rate(self.first) / max(_rate(self.second), 1e-9)


def measure_pair(figure: Figure, first: Rig, second: Rig) -> tuple[float, float]:
    """Return calls a second of both; each has the machine for itself for half of the time.

    Turns in which one side was stalled tell of the machine: of all turns, ordered by their ratio,
    the lowest and the highest quarter are left out.
    """
    try:
        # Before anything is held: no store may be kept in the middle of a transaction for seconds.
        first.prepare(figure)
        second.prepare(figure)
        second.hold()
        slowest = _warm_up(figure, first)
        _pass(first, second)
        slowest = min(slowest, _warm_up(figure, second))
        second.hold()
        seconds = min(max(_CALLS / slowest, _SHORTEST_SECONDS), _LONGEST_SECONDS)
        turns = [_turn(figure, first, second, seconds, number) for number in range(_TURNS)]
        first.release()
        first.stop(figure)
        _pass(first, second)
        second.stop(figure)
    finally:
        first.release()
        second.release()
    kept = sorted(turns, key=lambda turn: turn.ratio)[_LEFT_OUT:-_LEFT_OUT]
    return _total([turn.first for turn in kept]), _total([turn.second for turn in kept])


def _warm_up(figure: Figure, rig: Rig) -> float:
    """Return about how many calls a second there are, once each caller has had its first one."""
    began = rig.start(figure)
    while True:
        time.sleep(_WARM_UP_SECONDS)
        so_far = rig.mark(figure) - began
        if so_far.done >= figure.callers or so_far.seconds > _WARM_UP_LIMIT:
            return _rate(so_far) or 1.0


def _turn(figure: Figure, first: Rig, second: Rig, seconds: float, number: int) -> _Turn:
    if number % 2:
        done = _work(figure, second, seconds)
        return _Turn(_work(figure, first, seconds), done)
    return _Turn(_work(figure, first, seconds), _work(figure, second, seconds))


def _work(figure: Figure, rig: Rig, seconds: float) -> Mark:
    rig.release()
    began = rig.mark(figure)
    time.sleep(seconds)
    ended = rig.mark(figure)
    rig.hold()
    return ended - began


def _pass(one: Rig, other: Rig) -> None:
    one.hold()
    other.release()


def _rate(mark: Mark) -> float:
    return mark.done / mark.seconds


def _total(marks: Sequence[Mark]) -> float:
    return sum(mark.done for mark in marks) / sum(mark.seconds for mark in marks)
