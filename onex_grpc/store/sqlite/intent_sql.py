"""The statements of the queue. A condition stands as its partial index has it, or SQLite would not
use the index: states are numbers here, and their names are in the schema's comment.
"""

from __future__ import annotations

from functools import cache
from typing import Final

MOST_MERGED: Final = 100
"""Routes that `claim` merges; more are read by CLAIM_OF_MANY."""

# An id that is known is left out: an error in the middle would cost the batch its other members.
INSERT: Final = (
    "INSERT OR IGNORE INTO intent (intent_id, state, priority, rank_us, timed_us, attempts, "
    "max_attempts, claim, worker, order_key, route, created_us, correlation_id, traceparent, "
    "payload, last_error) VALUES (?, ?, ?, ?, 0, 0, ?, '', '', ?, ?, ?, ?, ?, ?, x'')"
)
HAS_EARLIER: Final = (
    "SELECT 1 FROM intent WHERE order_key = ? AND order_key <> '' AND state < 5 LIMIT 1"
)
UNBLOCK: Final = (
    "UPDATE intent SET state = 1 WHERE state = 4 AND seq = (SELECT seq FROM intent "
    "WHERE order_key = ? AND order_key <> '' AND state < 5 ORDER BY seq LIMIT 1) RETURNING route"
)
DUE: Final = (
    "SELECT seq, state, attempts, max_attempts, order_key, priority, route FROM intent "
    "WHERE state IN (2, 3) AND timed_us <= ? ORDER BY timed_us LIMIT ?"
)
NEXT_DUE: Final = "SELECT min(timed_us) FROM intent WHERE state IN (2, 3)"
TAKE_BACK: Final = "DELETE FROM intent WHERE seq > ?"
PROMOTE: Final = "UPDATE intent SET state = 1, claim = '' WHERE seq = ?"
_CLAIM: Final = (
    "UPDATE intent SET state = 3, attempts = attempts + 1, claim = ?, worker = ?, timed_us = ? "
    "WHERE seq IN ({}) "
    "RETURNING rank_us, seq, priority, route, intent_id, attempts, max_attempts, payload, "
    "traceparent, redrives"
)
# Of each route in the list, which is JSON, as many as it shall claim in all.
CLAIM_OF_MANY: Final = _CLAIM.format(
    "SELECT seq FROM (SELECT i.rank_us, i.seq FROM json_each(?) AS wanted JOIN intent AS i "
    "ON i.seq IN (SELECT seq FROM intent WHERE state = 1 AND route = wanted.value "
    "ORDER BY rank_us, seq LIMIT ?5) ORDER BY i.rank_us, i.seq LIMIT ?5)"
)
_FIRST: Final = "SELECT seq FROM ({} ORDER BY rank_us, seq LIMIT ?)"
_FIRST_OF_ONE: Final = (
    "SELECT seq FROM intent WHERE state = 1 AND route = ? ORDER BY rank_us, seq LIMIT ?"
)
_HEAD: Final = "SELECT rank_us, seq FROM intent WHERE state = 1 AND route = ?"
# From the head of the index to its next route, however many intents lie between.
READY_ROUTES: Final = (
    "WITH RECURSIVE ready (route) AS (SELECT * FROM "
    "(SELECT route FROM intent WHERE state = 1 ORDER BY route LIMIT 1) "
    "UNION ALL SELECT (SELECT i.route FROM intent i WHERE i.state = 1 AND i.route > ready.route "
    "ORDER BY i.route LIMIT 1) FROM ready WHERE ready.route IS NOT NULL) "
    "SELECT route FROM ready WHERE route IS NOT NULL"
)
CANCEL: Final = (
    "UPDATE intent SET state = 7, timed_us = ? "
    "WHERE intent_id = ? AND state IN (1, 2, 4) RETURNING order_key, priority, route"
)
SELECT_HELD: Final = (
    "SELECT attempts, max_attempts, order_key, priority, route FROM intent "
    "WHERE seq = ? AND claim = ? AND state = 3"
)
COMPLETE: Final = (
    "UPDATE intent SET state = 5, timed_us = ? "
    "WHERE seq = ? AND claim = ? AND state = 3 RETURNING order_key, priority"
)
EXTEND: Final = (
    "UPDATE intent SET timed_us = ? WHERE seq = ? AND claim = ? AND state = 3 RETURNING seq"
)
GIVE_BACK: Final = (
    "UPDATE intent SET state = 1, attempts = attempts - 1, claim = '' "
    "WHERE seq = ? AND claim = ? AND state = 3 RETURNING priority, route"
)
HELD_BY: Final = (
    "SELECT seq, claim, attempts, max_attempts, order_key, priority, route FROM intent "
    "WHERE state IN (2, 3) AND state = 3 AND timed_us > 0 AND worker = ?"
)
RETRY: Final = (
    "UPDATE intent SET state = 2, timed_us = ?, rank_us = ?, claim = '', last_error = ? "
    "WHERE seq = ?"
)
BURY: Final = "UPDATE intent SET state = 6, timed_us = ?, claim = '', last_error = ? WHERE seq = ?"
SELECT_DEAD: Final = (
    "SELECT seq, order_key, priority, route FROM intent WHERE state = 6 AND intent_id = ?"
)
SELECT_OLDEST_DEAD: Final = (
    "SELECT seq, order_key, priority, route FROM intent WHERE state = 6 ORDER BY seq LIMIT ?"
)
REDRIVE: Final = (
    "UPDATE intent SET state = ?, rank_us = ?, timed_us = 0, attempts = 0, "
    "redrives = redrives + 1 WHERE seq = ?"
)


@cache
def claim(routes: int) -> str:
    """The claim of what ranks first on so many routes, 1 to MOST_MERGED.

    SQLite merges the routes row by row: it reads one of each more than it claims.
    """
    if routes == 1:
        return _CLAIM.format(_FIRST_OF_ONE)
    return _CLAIM.format(_FIRST.format(" UNION ALL ".join([_HEAD] * routes)))
