"""The statements of the queue. A condition stands as its partial index has it, or the index could
not be used: states are numbers here, and their names are in the schema's comment.
"""

from __future__ import annotations

from typing import Final

INSERT: Final = (
    "INSERT INTO intent (intent_id, state, priority, rank_us, timed_us, attempts, max_attempts, "
    "claim, worker, order_key, created_us, correlation_id, traceparent, payload, last_error) "
    "VALUES (%s, %s, %s, %s, 0, 0, %s, '', '', %s, %s, %s, %s, %s, '')"
)
FIND_ID: Final = "SELECT 1 FROM intent WHERE intent_id = ANY(%s) LIMIT 1"
HAS_EARLIER: Final = (
    "SELECT 1 FROM intent WHERE order_key = %s AND order_key <> '' AND state < 5 LIMIT 1"
)
UNBLOCK: Final = (
    "UPDATE intent SET state = 1 WHERE state = 4 AND seq = (SELECT seq FROM intent "
    "WHERE order_key = %s AND order_key <> '' AND state < 5 ORDER BY seq LIMIT 1) RETURNING seq"
)
# Others that claim at the same time take other rows instead of waiting for these.
DUE: Final = (
    "SELECT seq, state, attempts, max_attempts, order_key, priority FROM intent "
    "WHERE state IN (2, 3) AND timed_us <= %s ORDER BY timed_us LIMIT %s FOR UPDATE SKIP LOCKED"
)
NEXT_DUE: Final = "SELECT min(timed_us) FROM intent WHERE state IN (2, 3)"
# Whether a claim that found less than it wanted has left rows behind that others had locked.
HAS_READY: Final = "SELECT EXISTS (SELECT FROM intent WHERE state = 1)"
PROMOTE: Final = "UPDATE intent SET state = 1, claim = '' WHERE seq = %s"
# A plan may run a plain sub-select more than once, and claim more than its limit.
CLAIM: Final = (
    "WITH head AS MATERIALIZED (SELECT seq FROM intent WHERE state = 1 ORDER BY rank_us, seq "
    "LIMIT %s FOR UPDATE SKIP LOCKED) "
    "UPDATE intent SET state = 3, attempts = attempts + 1, claim = %s, worker = %s, timed_us = %s "
    "FROM head WHERE intent.seq = head.seq "
    "RETURNING rank_us, intent.seq, priority, intent_id, attempts, max_attempts, payload, "
    "traceparent, redrives"
)
CANCEL: Final = (
    "UPDATE intent SET state = 7, timed_us = %s "
    "WHERE intent_id = ANY(%s) AND state IN (1, 2, 4) RETURNING order_key, priority"
)
SELECT_HELD: Final = (
    "SELECT attempts, max_attempts, order_key, priority FROM intent "
    "WHERE seq = %s AND claim = %s AND state = 3 FOR UPDATE"
)
COMPLETE: Final = (
    "UPDATE intent SET state = 5, timed_us = %s "
    "WHERE seq = %s AND claim = %s AND state = 3 RETURNING order_key, priority"
)
EXTEND: Final = (
    "UPDATE intent SET timed_us = %s WHERE seq = %s AND claim = %s AND state = 3 RETURNING seq"
)
GIVE_BACK: Final = (
    "UPDATE intent SET state = 1, attempts = attempts - 1, claim = '' "
    "WHERE seq = %s AND claim = %s AND state = 3 RETURNING priority"
)
HELD_BY: Final = (
    "SELECT seq, claim, attempts, max_attempts, order_key, priority FROM intent "
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
    "SELECT seq, order_key, priority FROM intent "
    "WHERE state = 6 AND intent_id = ANY(%s) ORDER BY seq FOR UPDATE"
)
SELECT_OLDEST_DEAD: Final = (
    "SELECT seq, order_key, priority FROM intent WHERE state = 6 ORDER BY seq LIMIT %s FOR UPDATE"
)
REDRIVE: Final = (
    "UPDATE intent SET state = %s, rank_us = %s, timed_us = 0, attempts = 0, "
    "redrives = redrives + 1 WHERE seq = %s"
)
