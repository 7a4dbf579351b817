"""The clock by which a holder judges its own lease."""

from __future__ import annotations

import time

# The monotonic clock stands still while a machine is suspended, a lease does not.
_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def holder_clock() -> float:
    """Seconds of a clock that never goes back and, where the system has one, counts suspension."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
