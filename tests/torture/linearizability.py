"""Whether a history of concurrent operations could have happened one after another.

The search of Wing and Gong, with the memory of Lowe: each operation takes effect at one moment
between its call and its return, and a (done, state) pair that led nowhere is not tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

O = TypeVar("O")  # noqa: E741 - an operation
S = TypeVar("S", bound=Hashable)

_NEVER: Final = float("inf")

Step = Callable[[S, O], S | None]
"""The state after an operation with its observed result; None where that result is impossible."""


@dataclass(frozen=True, slots=True)
class Timed(Generic[O]):
    """An operation and when it was called and answered, by one clock for all.

    `returned` None: its outcome is unknown; it may have taken effect at any time after the call, or
    never.
    """

    operation: O
    invoked: int
    returned: int | None


@dataclass(frozen=True, slots=True)
class Verdict(Generic[O]):
    """What the search has come to.

    Attributes:
        linearizable: whether there is an order that explains all that was answered.
        order: that order; the longest that explains a part, where there is none.
        stuck: what could come next at the end of that part, none of it with its observed result.
    """

    linearizable: bool
    order: Sequence[Timed[O]]
    stuck: Sequence[Timed[O]]


def check(history: Sequence[Timed[O]], initial: S, step: Step[S, O]) -> Verdict[O]:
    """Searches for an order of the operations of one object.

    Args:
        history: its operations, in any order.
        initial: the state before the first one.
        step: the object's rules.
    """
    return _Search(history, step).run(initial)


class _Search(Generic[S, O]):
    """Which operations are done is a number: bit i is the i-th by the time of its call."""

    def __init__(self, history: Sequence[Timed[O]], step: Step[S, O]) -> None:
        self._operations = sorted(history, key=lambda timed: timed.invoked)
        self._returned = [
            _NEVER if timed.returned is None else timed.returned for timed in self._operations
        ]
        self._step = step
        self._answered = sum(
            1 << index for index, returned in enumerate(self._returned) if returned != _NEVER
        )

    def run(self, initial: S) -> Verdict[O]:
        seen: set[tuple[int, S]] = {(0, initial)}
        path: list[int] = []
        longest: list[int] = []
        stack: list[tuple[int, Iterator[tuple[int, S]]]] = [(0, self._next(0, initial))]
        if not self._answered:
            return self._verdict(True, path, 0)
        while stack:
            done, following = stack[-1]
            found = next(following, None)
            if found is None:
                stack.pop()
                if path:
                    path.pop()
                continue
            index, state = found
            reached = done | 1 << index
            if (reached, state) in seen:
                continue
            seen.add((reached, state))
            path.append(index)
            if len(path) > len(longest):
                longest = path.copy()
            if not self._answered & ~reached:
                return self._verdict(True, path, reached)
            stack.append((reached, self._next(reached, state)))
        return self._verdict(False, longest, sum(1 << index for index in longest))

    def _next(self, done: int, state: S) -> Iterator[tuple[int, S]]:
        for index in self._candidates(done):
            after = self._step(state, self._operations[index].operation)
            if after is not None:
                yield index, after

    def _candidates(self, done: int) -> list[int]:
        """What may come next: called before any that is not done had returned."""
        horizon = _NEVER
        found: list[int] = []
        first = (~done & (done + 1)).bit_length() - 1
        for index in range(first, len(self._operations)):
            if self._operations[index].invoked > horizon:
                break
            if not done >> index & 1:
                found.append(index)
                horizon = min(horizon, self._returned[index])
        # What returned first most often came first; what is unknown is left for need.
        return sorted(found, key=self._returned.__getitem__)

    def _verdict(self, linearizable: bool, order: Sequence[int], done: int) -> Verdict[O]:
        stuck = [] if linearizable else self._candidates(done)
        return Verdict(
            linearizable,
            [self._operations[index] for index in order],
            [self._operations[index] for index in stuck],
        )
