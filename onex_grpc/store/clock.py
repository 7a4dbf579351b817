"""The time by which a store judges leases and waits."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]


def wall_clock_us() -> int:
    """Microseconds since the Unix epoch."""
    return time.time_ns() // 1000


class StoreClock:
    """A clock that never steps back, so that an expired lease stays expired.

    When its source steps back, time stands still for that moment and then runs on at the source's
    pace: were it held at
    its highest value until the source has caught up, no lease would expire meanwhile.
    """

    def __init__(self, source: Clock, *, floor_us: int = 0) -> None:
        """Starts at the source's time, or at `floor_us` (the last time that was stored) if that is
        later.
        """
        self._source = source
        self._seen = source()
        self._offset = max(0, floor_us - self._seen)
        self._now = self._seen + self._offset

    def advance(self) -> int:
        """Takes the time for a batch; only the writer thread may call this."""
        seen = self._source()
        if seen < self._seen:
            self._offset += self._seen - seen
        self._seen = seen
        self._now = seen + self._offset
        return self._now

    def peek(self) -> int:
        """The time, for a reader of any thread."""
        return max(self._now, self._source() + self._offset)
