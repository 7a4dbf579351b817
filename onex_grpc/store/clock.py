"""The time by which a store judges leases and waits."""

from __future__ import annotations

import threading
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
        # A reader that sees the step first must not wait for the next batch to make up for it: an
        # idle store would see no lease expire until the source has caught up.
        self._lock = threading.Lock()
        self._seen = source()
        self._offset = max(0, floor_us - self._seen)

    def advance(self) -> int:
        """The time for a batch."""
        return self.peek()

    def peek(self) -> int:
        """The time; for any thread."""
        with self._lock:
            seen = self._source()
            if seen < self._seen:
                self._offset += self._seen - seen
            self._seen = seen
            return seen + self._offset
