"""Calls that are made again where the process that they went to is gone."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from typing import TYPE_CHECKING, Final, TypeVar

from onex_grpc.errors import DeadlineExceededError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

R = TypeVar("R")

# As the policy that endpoints of generic calls have.
_ATTEMPTS: Final = 5
_FIRST_PAUSE: Final = 0.05
_GROWTH: Final = 3.0
_LONGEST_PAUSE: Final = 1.0


async def repeated(call: Callable[[float | None], Awaitable[R]], timeout: float | None) -> R:
    """Return what a call comes to that may be repeated: asked for until it has been answered.

    Args:
        call: makes it, with the seconds that are left.
        timeout: seconds for all attempts together; None for five attempts.

    Raises:
        DeadlineExceededError: when no process of the node has answered in time.
        OnexError: of the last attempt.
    """
    ends_at = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST_PAUSE
    for attempt in itertools.count(1):
        try:
            return await call(_left(ends_at))
        except UnavailableError as error:
            if ends_at is None and attempt == _ATTEMPTS:
                raise
            wait = random.uniform(pause / 2, pause)  # noqa: S311 - spreads repeats, no secret
            if ends_at is not None and time.monotonic() + wait >= ends_at:
                raise DeadlineExceededError(
                    f"no process of the node answered in time: {error.message}", causes=(error,)
                ) from error
        await asyncio.sleep(wait)
        pause = min(pause * _GROWTH, _LONGEST_PAUSE)
    raise AssertionError("a count has no end")


def _left(ends_at: float | None) -> float | None:
    return None if ends_at is None else ends_at - time.monotonic()
