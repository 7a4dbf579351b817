"""The server's time, by which all processes of a store judge leases and waits."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onex_grpc.store.clock import Clock

# The stored time may lag this much behind what a process has seen.
LAG_US: Final = 100_000
# A reader's thread may have had to wait for so long since its row was read.
_LATE_US: Final = 1_000_000

# now() would stand still from the start of a transaction on, while it waits for locks.
SELECT_TIME: Final = (
    "SELECT wall_us, offset_us, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint "
    "FROM clock"
)
LIFT: Final = "UPDATE clock SET offset_us = offset_us + %s, wall_us = %s WHERE offset_us = %s"
KEEP: Final = "UPDATE clock SET wall_us = %s WHERE wall_us < %s AND offset_us = %s"


class ServerClock:
    """A clock that all processes share and that never steps back for any of them.

    When the server's time steps back, the first process to see it raises the offset that all add,
    so that time stands still for that moment and then runs on at the server's pace.
    """

    def __init__(self, source: Clock | None) -> None:
        """Goes by the server, or by `source` where a test moves the time."""
        self._source = source
        self._seen = 0 if source is None else source()
        self._stored = 0
        self._offset = 0
        self._now = 0
        self._taken = time.monotonic()
        self._lock = threading.Lock()

    def step_back(self, stored_us: int, offset_us: int, server_us: int) -> tuple[int, int, int]:
        """Takes the time for a batch, of a row of SELECT_TIME.

        Returns the parameters of LIFT where the time has stepped back: then nothing is taken, and
        the row must be read anew after it. All zero where it has not.
        """
        with self._lock:
            return self._step_back(stored_us, offset_us, server_us)

    def step_seen(self, stored_us: int, offset_us: int, server_us: int) -> tuple[int, int, int]:
        """As `step_back` for a reader, which may see the step long before there is a batch.

        Its row may be older than the last batch's, so a small step is left to the next batch.
        """
        with self._lock:
            if self._wall(server_us) >= max(stored_us, self._seen) - _LATE_US:
                return 0, 0, 0
            return self._step_back(stored_us, offset_us, server_us)

    def _step_back(self, stored_us: int, offset_us: int, server_us: int) -> tuple[int, int, int]:
        wall = self._wall(server_us)
        if offset_us != self._offset:
            self._offset, self._seen = offset_us, min(self._seen, wall)
        highest = max(stored_us, self._seen)
        if wall < highest:
            # Others may have seen more than what is stored; of this process it is known.
            unseen = LAG_US if stored_us > self._seen else 0
            return highest - wall + unseen, wall, offset_us
        self._seen, self._stored = wall, stored_us
        self._now, self._taken = wall + offset_us, time.monotonic()
        return 0, 0, 0

    def keep(self) -> tuple[int, int, int] | None:
        """The parameters of KEEP where the stored time lags too far behind."""
        if self._seen - self._stored < LAG_US:
            return None
        return self._seen, self._seen, self._offset

    @property
    def now_us(self) -> int:
        """The time of the running batch."""
        return self._now

    def read(self, offset_us: int, server_us: int) -> int:
        """The time for a reader, or after a wait within a transaction."""
        return max(self._now, self._wall(server_us) + offset_us)

    def peek(self) -> int:
        """The time without asking the server; for any thread."""
        if self._source is not None:
            return max(self._now, self._source() + self._offset)
        return self._now + int((time.monotonic() - self._taken) * 1e6)

    def estimate(self) -> int:
        """The time without asking the server; 0 where it was never asked. For the writer thread."""
        return self.peek() if self._now else 0

    def _wall(self, server_us: int) -> int:
        return server_us if self._source is None else self._source()
