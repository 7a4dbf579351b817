"""How long to wait before a repeat."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onex.v1 import common_pb2

_INITIAL: Final = 0.1
_LONGEST: Final = 30.0
_MULTIPLIER: Final = 2.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that grow from repeat to repeat, with jitter so that many callers do not come at once.

    Attributes:
        initial: seconds before the first repeat.
        longest: the longest wait, in seconds.
        multiplier: growth from repeat to repeat.
    """

    initial: float = _INITIAL
    longest: float = _LONGEST
    multiplier: float = _MULTIPLIER

    @classmethod
    def of(cls, policy: common_pb2.RetryPolicy) -> Backoff:
        """The waits of a policy, with the contract's defaults where it says nothing."""
        initial, longest = policy.initial_backoff, policy.max_backoff
        return cls(
            initial.ToTimedelta().total_seconds()
            if policy.HasField("initial_backoff")
            else _INITIAL,
            longest.ToTimedelta().total_seconds() if policy.HasField("max_backoff") else _LONGEST,
            policy.multiplier if policy.HasField("multiplier") else _MULTIPLIER,
        )

    def wait(self, repeat: int) -> float:
        """Seconds before a repeat, counted from 1: exponential, plus up to `initial` of jitter."""
        jitter = random.uniform(0.0, self.initial)  # noqa: S311 - spreads load, keeps no secret
        try:
            grown = self.initial * self.multiplier ** (repeat - 1)
        except OverflowError:
            return self.longest
        return min(self.longest, grown + jitter)
