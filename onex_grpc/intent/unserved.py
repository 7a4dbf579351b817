"""Warns of intents that nobody who is connected can execute."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onex.v1 import intent_pb2

_log = logging.getLogger(__name__)
_LONG_SECONDS: Final = 60


class UnservedRoutes:
    """The routes on which intents wait for a worker that is not there; each is told of once, and
    again when it had one in between.
    """

    def __init__(self) -> None:
        """No route has been told of."""
        self._told: set[str] = set()

    def look(self, stats: intent_pb2.GetQueueStatsResponse) -> None:
        """Logs a warning for each route on which an intent waits for more than a minute while no
        worker takes it.
        """
        unserved = {row.route: row for row in stats.routes if not row.workers and _is_long(row)}
        for route in unserved.keys() - self._told:
            row = unserved[route]
            _log.warning(
                "intents wait on the route %r, the oldest of %d for %d s, and no worker that is "
                "connected accepts it: look for a slip in a target's name, or start its effect",
                route,
                row.pending,
                row.oldest_pending_age.seconds,
            )
        self._told = set(unserved)


def _is_long(row: intent_pb2.RouteStats) -> bool:
    return row.oldest_pending_age.seconds > _LONG_SECONDS
