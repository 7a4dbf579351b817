"""The statements of the queue. A condition stands as its partial index has it, or the index could
not be used: states are numbers here, and their names are in the schema's comment.
"""

from __future__ import annotations

from typing import Final

FIND_IDS: Final = "SELECT intent_id FROM intent WHERE intent_id = ANY(%b::text[])"
HAS_EARLIER: Final = (
    "SELECT 1 FROM intent WHERE order_key = %s AND order_key <> '' AND state < 5 LIMIT 1"
)
UNBLOCK: Final = (
    "UPDATE intent SET state = 1 WHERE state = 4 AND seq = (SELECT seq FROM intent "
    "WHERE order_key = %s AND order_key <> '' AND state < 5 ORDER BY seq LIMIT 1) RETURNING route"
)
# Others that look at the same time take other rows instead of waiting for these.
DUE: Final = (
    "SELECT seq, state, attempts, max_attempts, order_key, priority, route, timed_us FROM intent "
    "WHERE state IN (2, 3) AND timed_us <= %s ORDER BY timed_us LIMIT %s FOR UPDATE SKIP LOCKED"
)
NEXT_DUE: Final = "SELECT min(timed_us) FROM intent WHERE state IN (2, 3)"
# Whether a claim that found less than it wanted has left rows behind that others had locked.
HAS_READY: Final = "SELECT EXISTS (SELECT FROM intent WHERE state = 1)"
# A look at the head of each route: a plain condition would be planned as a join, and read all that
# is ready on any route.
HAS_READY_OF: Final = (
    "SELECT EXISTS (SELECT FROM unnest(%s::text[]) AS wanted (route) CROSS JOIN LATERAL "
    "(SELECT FROM intent WHERE state = 1 AND intent.route = wanted.route "
    "ORDER BY rank_us, seq LIMIT 1) AS first)"
)
# From the head of the index to its next route, however many intents lie between.
READY_ROUTES: Final = (
    "wanted (route) AS ("
    "(SELECT route FROM intent WHERE state = 1 ORDER BY route LIMIT 1) "
    "UNION ALL SELECT (SELECT i.route FROM intent i WHERE i.state = 1 AND i.route > wanted.route "
    "ORDER BY i.route LIMIT 1) FROM wanted WHERE wanted.route IS NOT NULL)"
)
"""`wanted`, for a WITH RECURSIVE: the routes on which an intent is ready, and NULL."""
PROMOTE: Final = "UPDATE intent SET state = 1, claim = '' WHERE seq = %s"
CANCEL: Final = (
    "UPDATE intent SET state = 7, timed_us = %s "
    "WHERE intent_id = ANY(%s) AND state IN (1, 2, 4) RETURNING order_key, priority, route"
)
SELECT_HELD: Final = (
    "SELECT attempts, max_attempts, order_key, priority, route FROM intent "
    "WHERE seq = %s AND claim = %s AND state = 3 FOR UPDATE"
)
EXTEND: Final = (
    "UPDATE intent SET timed_us = %s WHERE seq = %s AND claim = %s AND state = 3 RETURNING seq"
)
GIVE_BACK: Final = (
    "UPDATE intent SET state = 1, attempts = attempts - 1, claim = '' "
    "WHERE seq = %s AND claim = %s AND state = 3 RETURNING priority, route"
)
HELD_BY: Final = (
    "SELECT seq, claim, attempts, max_attempts, order_key, priority, route FROM intent "
    "WHERE state IN (2, 3) AND state = 3 AND worker = %s ORDER BY seq FOR UPDATE"
)
RETRY: Final = (
    "UPDATE intent SET state = 2, timed_us = %s, rank_us = %s, claim = '', last_error = %s "
    "WHERE seq = %s"
)
BURY: Final = (
    "UPDATE intent SET state = 6, timed_us = %s, claim = '', last_error = %s WHERE seq = %s"
)
SELECT_DEAD: Final = (
    "SELECT seq, order_key, priority, route FROM intent "
    "WHERE state = 6 AND intent_id = ANY(%s) ORDER BY seq FOR UPDATE"
)
SELECT_OLDEST_DEAD: Final = (
    "SELECT seq, order_key, priority, route FROM intent WHERE state = 6 "
    "ORDER BY seq LIMIT %s FOR UPDATE"
)
REDRIVE: Final = (
    "UPDATE intent SET state = %s, rank_us = %s, timed_us = 0, attempts = 0, "
    "redrives = redrives + 1 WHERE seq = %s"
)
