"""The figures of the queue in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store import tally
from onex_grpc.store.queue_rules import LOOKED_AT, looked_at_of_each

if TYPE_CHECKING:
    import apsw

    from onex_grpc.store.model import QueueStats
    from onex_grpc.store.sqlite.transaction import Row

COUNTS: Final = "SELECT state, priority, route, count FROM tally WHERE count <> 0"
# Each condition stands as its partial index has it (see intent_sql).
READY: Final = (
    "SELECT ?1, priority, min(created_us) FROM (SELECT priority, created_us FROM intent "
    "WHERE state = 1 AND route = ?1 ORDER BY rank_us, seq LIMIT ?2) GROUP BY priority"
)
LATER: Final = (
    "SELECT route, priority, min(created_us) FROM (SELECT state, route, priority, created_us "
    "FROM intent WHERE state IN (2, 3) ORDER BY timed_us, seq LIMIT ?1) "
    "WHERE state = 2 GROUP BY route, priority"
)
BLOCKED: Final = (
    "SELECT route, priority, min(created_us) FROM (SELECT state, route, priority, created_us "
    "FROM intent WHERE order_key <> '' AND state < 5 ORDER BY order_key, seq LIMIT ?1) "
    "WHERE state = 4 GROUP BY route, priority"
)


def queue_stats(connection: apsw.Connection, now_us: int) -> QueueStats:
    """The figures of the queue, in a time that does not grow with its length."""
    # One transaction, so that all figures are of the same moment.
    with connection:
        counts: list[Row] = connection.execute(COUNTS).fetchall()
        waiting = tally.pending_routes(counts)
        share = looked_at_of_each(len(waiting))
        oldest: list[Row] = []
        for route in waiting:
            oldest += connection.execute(READY, (route, share))
        if waiting:
            oldest += connection.execute(LATER, (LOOKED_AT,))
            oldest += connection.execute(BLOCKED, (LOOKED_AT,))
    return tally.queue_stats(counts, oldest, now_us)
