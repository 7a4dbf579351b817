"""The store's transactions done one by one on PostgreSQL: the same tables and statements, one
connection with prepared statements, one transaction each.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.types.numeric import Int8Dumper

from bench.store_load import DEPTH, KEYS, PAYLOAD, STATE, STATE_TYPE, TTL_US, new_intents
from onex_grpc.store.keys import new_id, workflow_key
from onex_grpc.store.queue_rules import rank_us

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onex_grpc.store import NewIntent

_LEASE: Final = (
    "SELECT workflow_id, fence, lease_id, request_id, holder, ttl_us, expires_us "
    "FROM workflow WHERE workflow_id = %s FOR UPDATE"
)
_GRANT: Final = (
    "INSERT INTO workflow (workflow_id, fence, lease_id, request_id, holder, ttl_us, expires_us) "
    "VALUES (%s, nextval('fence'), %s, %s, 'orchestrator/bench', %s, %s) "
    "ON CONFLICT (workflow_id) DO UPDATE SET fence = excluded.fence, "
    "lease_id = excluded.lease_id, request_id = excluded.request_id, holder = excluded.holder, "
    "ttl_us = excluded.ttl_us, expires_us = excluded.expires_us RETURNING fence"
)
_VERSION: Final = "SELECT version FROM state WHERE key = %s"
_HISTORY: Final = (
    "INSERT INTO history (state_id, version, kind, fence, written_us, state_type, state) "
    "VALUES (%s, %s, 'BENCH', %s, %s, %s, %s)"
)
_INTENT: Final = (
    "INSERT INTO intent (intent_id, state, priority, rank_us, timed_us, attempts, max_attempts, "
    "claim, worker, order_key, created_us, correlation_id, traceparent, payload, last_error) "
    "VALUES (%s, 1, %s, %s, 0, 0, %s, '', '', '', %s, %s, '', %s, '')"
)
_DUE: Final = (
    "SELECT seq FROM intent WHERE state IN (2, 3) AND timed_us <= %s LIMIT 64 "
    "FOR UPDATE SKIP LOCKED"
)
_CLAIM: Final = (
    "WITH head AS MATERIALIZED (SELECT seq FROM intent WHERE state = 1 AND route = '' "
    "ORDER BY rank_us, seq LIMIT 1 FOR UPDATE SKIP LOCKED) "
    "UPDATE intent SET state = 3, attempts = attempts + 1, claim = %s, worker = %s, timed_us = %s "
    "FROM head WHERE intent.seq = head.seq "
    "RETURNING intent.seq, intent_id, attempts, max_attempts, payload, traceparent"
)
_COMPLETE: Final = (
    "UPDATE intent SET state = 5, timed_us = %s "
    "WHERE seq = %s AND claim = %s AND state = 3 RETURNING order_key"
)


class BarePostgres:
    """The operations of the benchmark without the store."""

    def __init__(self, address: str, schema: str) -> None:
        """Works in a schema that the store has made."""
        self._db: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(
            address, autocommit=True, prepare_threshold=2
        )
        # Of one type whatever their value, so that a statement is prepared once.
        self._db.adapters.register_dumper(int, Int8Dumper)
        self._db.execute("SELECT set_config('search_path', %s, false)", (f'"{schema}"',))
        self._cursor = self._db.cursor(binary=True)
        self._execute = self._cursor.execute
        self._keys = deque((f"bench-{number}", 0) for number in range(KEYS))
        self._numbers = itertools.count()
        self._waiting = 0

    def close(self) -> None:
        """Closes the connection."""
        self._db.close()

    def prepare(self, operation: str) -> None:
        """Makes what a stretch of the operation needs: leases that last, or intents that wait."""
        if operation == "epoch_cas":
            with self._transaction() as now_us:
                for name, _ in self._keys:
                    self._grant(name, now_us, ttl_us=3_600_000_000)
        if operation == "claim_complete" and self._waiting < DEPTH:
            with self._transaction() as now_us:
                self._emit(new_intents(DEPTH - self._waiting), now_us)
            self._waiting = DEPTH

    def reducer_commit(self) -> None:
        """State, history and three intents, at the expected version."""
        name, version = self._keys.popleft()
        intents = new_intents(3)
        with self._transaction() as now_us:
            self._change(name, version, 0, now_us)
            self._emit(intents, now_us)
        self._keys.append((name, version + 1))

    def lease_cycle(self) -> None:
        """Acquire, renew, release: three transactions."""
        name, version = self._keys.popleft()
        with self._transaction() as now_us:
            self._execute(_LEASE, (name,)).fetchone()
            self._grant(name, now_us, TTL_US)
            self._execute(_VERSION, (workflow_key(name),)).fetchone()
        for until_us in (TTL_US, 0):
            with self._transaction() as now_us:
                self._execute(_LEASE, (name,)).fetchone()
                self._execute(
                    "UPDATE workflow SET expires_us = %s WHERE workflow_id = %s",
                    (now_us + until_us if until_us else 0, name),
                )
                self._execute(_VERSION, (workflow_key(name),)).fetchone()
        self._keys.append((name, version))

    def epoch_cas(self) -> None:
        """State and history of a workflow, under its lease and at the expected epoch."""
        name, version = self._keys.popleft()
        with self._transaction() as now_us:
            row = self._execute(_LEASE, (name,)).fetchone()
            if row is None or row[6] < now_us:
                raise RuntimeError("no lease")
            self._change(workflow_key(name), version, row[1], now_us)
        self._keys.append((name, version + 1))

    def claim_complete(self) -> None:
        """One intent claimed, and completed: two transactions."""
        self._waiting -= 1
        claim = secrets.token_hex(8)
        with self._transaction() as now_us:
            self._execute(_DUE, (now_us,)).fetchall()
            (row,) = self._execute(_CLAIM, (claim, "effect/bench", now_us + TTL_US)).fetchall()
        with self._transaction() as now_us:
            (_,) = self._execute(_COMPLETE, (now_us, row[0], claim)).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[int]:
        self._execute("BEGIN")
        yield time.time_ns() // 1000
        self._execute("COMMIT")

    def _grant(self, name: str, now_us: int, ttl_us: int) -> None:
        request = str(next(self._numbers))
        self._execute(_GRANT, (name, new_id(now_us), request, ttl_us, now_us + ttl_us)).fetchone()

    def _change(self, key: str, expected: int, fence: int, now_us: int) -> None:
        select = "SELECT id, version FROM state WHERE key = %s FOR UPDATE"
        row = self._execute(select, (key,)).fetchone()
        if (row[1] if row else 0) != expected:
            raise RuntimeError("another version")
        if row is None:
            insert = "INSERT INTO state (key, version, open) VALUES (%s, 1, false) RETURNING id"
            ((state_id,),) = self._execute(insert, (key,)).fetchall()
        else:
            state_id = row[0]
            update = "UPDATE state SET version = %s WHERE id = %s"
            self._execute(update, (expected + 1, state_id))
        self._execute(_HISTORY, (state_id, expected + 1, fence, now_us, STATE_TYPE, STATE))

    def _emit(self, intents: tuple[NewIntent, ...], now_us: int) -> None:
        self._cursor.executemany(
            _INTENT,
            [_row(each, now_us) for each in intents],
        )


def _row(each: NewIntent, now_us: int) -> tuple[object, ...]:
    rank = rank_us(each.priority, now_us)
    about = (each.max_attempts, now_us, each.correlation_id, PAYLOAD)
    return each.intent_id, each.priority, rank, *about
