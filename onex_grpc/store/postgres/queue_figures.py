"""The figures of the queue in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store import tally
from onex_grpc.store.queue_rules import LOOKED_AT

if TYPE_CHECKING:
    from onex_grpc.store.model import QueueStats
    from onex_grpc.store.postgres.reader import Session

# One statement, so that all figures are of the same moment. Each condition stands as its partial
# index has it (see intent_sql).
_FIGURES: Final = (
    "WITH counted AS MATERIALIZED (SELECT state::integer, priority::integer, route, "
    "sum(count)::bigint AS n FROM tally GROUP BY state, priority, route), "
    "waiting AS MATERIALIZED "
    "(SELECT DISTINCT route FROM counted WHERE state = 1 AND n > 0), "
    "share (most) AS MATERIALIZED "
    "(SELECT greatest(1, %s::bigint / nullif(count(*), 0)) FROM waiting), "
    "oldest AS (SELECT waiting.route, first.priority, first.created_us "
    "FROM waiting CROSS JOIN LATERAL (SELECT priority, created_us FROM intent "
    "WHERE state = 1 AND intent.route = waiting.route "
    "ORDER BY rank_us, seq LIMIT (SELECT most FROM share)) AS first "
    "UNION ALL SELECT route, priority, created_us FROM (SELECT state, route, priority, created_us "
    "FROM intent WHERE state IN (2, 3) ORDER BY timed_us, seq LIMIT %s) AS timed WHERE state = 2 "
    "UNION ALL SELECT route, priority, created_us FROM (SELECT state, route, priority, created_us "
    "FROM intent WHERE order_key <> '' AND state < 5 ORDER BY order_key, seq LIMIT %s) AS ordered "
    "WHERE state = 4) "
    "SELECT state, priority, route, n, NULL::bigint FROM counted UNION ALL "
    "SELECT 0, priority::integer, route, 0, min(created_us) FROM oldest GROUP BY priority, route"
)


def queue_stats(session: Session) -> QueueStats:
    """The figures of the queue, in a time that does not grow with its length."""
    rows = session.rows(_FIGURES, (LOOKED_AT, LOOKED_AT, LOOKED_AT))
    counts = [(state, priority, route, n) for state, priority, route, n, at in rows if at is None]
    oldest = [(route, priority, at) for _, priority, route, _, at in rows if at is not None]
    return tally.queue_stats(counts, oldest, session.now_us())
