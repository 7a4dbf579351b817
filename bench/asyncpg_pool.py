"""The store's transactions done one by one through a pool of asyncpg: the same tables, each
transaction one statement, as lean as it gets.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from typing import Final

import asyncpg

from bench.store_load import KEYS, PAYLOAD, STATE, STATE_TYPE, TTL_US, new_intents
from onex_grpc.store.keys import new_id, workflow_key
from onex_grpc.store.queue_rules import rank_us

CONNECTIONS: Final = 16
# As the store's own connections have it: no plan may be kept that only suits small tables.
_SETTINGS: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
_COMMIT: Final = """
WITH moved AS (
  UPDATE state SET version = version + 1 WHERE key = $1 AND version = $2 RETURNING id, version
), kept AS (
  INSERT INTO history (state_id, version, kind, fence, written_us, state_type, state)
  SELECT id, version, 'BENCH', 0, $3::bigint, $4, $5 FROM moved
)
INSERT INTO intent (intent_id, state, priority, rank_us, timed_us, attempts, max_attempts, claim,
  worker, order_key, created_us, correlation_id, traceparent, payload, last_error)
SELECT each.intent_id, 1, each.priority, each.rank_us, 0, 0, 5, '', '', '', $3, 'bench', '', $6, ''
FROM moved, unnest($7::text[], $8::bigint[], $9::bigint[]) AS each (intent_id, priority, rank_us)
RETURNING seq
"""
_ACQUIRE: Final = """
INSERT INTO workflow (workflow_id, fence, lease_id, request_id, holder, ttl_us, expires_us)
VALUES ($1, nextval('fence'), $2, $3, 'orchestrator/bench', $4, $5::bigint + $4)
ON CONFLICT (workflow_id) DO UPDATE SET fence = excluded.fence, lease_id = excluded.lease_id,
  request_id = excluded.request_id, holder = excluded.holder, ttl_us = excluded.ttl_us,
  expires_us = excluded.expires_us
WHERE workflow.expires_us <= $5
RETURNING fence, (SELECT version FROM state WHERE key = $6)
"""
_PROLONG: Final = """
UPDATE workflow SET expires_us = $4
WHERE workflow_id = $1 AND lease_id = $2 AND fence = $3 AND expires_us > $5
RETURNING (SELECT version FROM state WHERE key = $6)
"""


class AsyncpgPool:
    """Operations of the benchmark, each caller's on whichever connection is free."""

    def __init__(self, address: str, schema: str) -> None:
        """Works in a schema that the store has made."""
        self._pool = asyncpg.create_pool(
            address,
            min_size=CONNECTIONS,
            max_size=CONNECTIONS,
            server_settings={**_SETTINGS, "search_path": f'"{schema}"'},
            # A round trip that the default takes each time, for what is not used here.
            reset=_no_reset,
        )
        self._keys = deque((f"bench-{number}", 0) for number in range(KEYS))
        self._numbers = itertools.count()

    async def open(self) -> None:
        """Connects, and makes the states."""
        await self._pool
        rows = [(key,) for key, _ in self._keys]
        insert = "INSERT INTO state (key, version, open) VALUES ($1, 0, false)"
        await self._pool.executemany(insert, rows)

    async def close(self) -> None:
        """Disconnects."""
        await self._pool.close()

    async def reducer_commit(self) -> None:
        """State, history and three intents, at the expected version."""
        key, version = self._keys.popleft()
        now_us = time.time_ns() // 1000
        new = [
            (each.intent_id, each.priority, rank_us(each.priority, now_us))
            for each in new_intents(3)
        ]
        columns = (list(column) for column in zip(*new, strict=True))
        change = (key, version, now_us, STATE_TYPE, STATE, PAYLOAD, *columns)
        if len(await self._pool.fetch(_COMMIT, *change)) != len(new):
            raise RuntimeError("another version")
        self._keys.append((key, version + 1))

    async def lease_cycle(self) -> None:
        """Acquire, renew, release: three transactions."""
        name, version = self._keys.popleft()
        key, lease_id = workflow_key(name), new_id(time.time_ns() // 1000)
        now_us = time.time_ns() // 1000
        request = (name, lease_id, str(next(self._numbers)), TTL_US, now_us, key)
        ((fence, _),) = await self._pool.fetch(_ACQUIRE, *request)
        for ttl_us in (TTL_US, 0):
            now_us = time.time_ns() // 1000
            until_us = now_us + ttl_us if ttl_us else 0
            prolonged = (name, lease_id, fence, until_us, now_us, key)
            (_,) = await self._pool.fetch(_PROLONG, *prolonged)
        self._keys.append((name, version))


async def _no_reset(connection: object) -> None:
    pass
