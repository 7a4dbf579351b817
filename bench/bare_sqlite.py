"""The store's transactions done one by one on SQLite: the same tables, statements and settings, one
connection, one transaction each, each durable (`synchronous=FULL`) before the next begins.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bench.store_load import DEPTH, KEYS, PAYLOAD, STATE, STATE_TYPE, TTL_US, new_intents
from onex_grpc.store.keys import new_id, workflow_key
from onex_grpc.store.queue_rules import rank_us
from onex_grpc.store.sqlite.connection import grow_wal, make_durable, open_writer
from onex_grpc.store.sqlite.schema import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from onex_grpc.store import NewIntent

_LEASE: Final = (
    "SELECT workflow_id, fence, lease_id, request_id, holder, ttl_us, expires_us "
    "FROM workflow WHERE workflow_id = ?"
)
_VERSION: Final = "SELECT version FROM state WHERE key = ?"
HISTORY: Final = (
    "INSERT INTO history (state_id, version, kind, fence, written_us, state_type, state) "
    "VALUES (?, ?, 'BENCH', ?, ?, ?, ?)"
)
INTENT: Final = (
    "INSERT INTO intent (intent_id, state, priority, rank_us, timed_us, attempts, max_attempts, "
    "claim, worker, order_key, created_us, correlation_id, traceparent, payload, last_error) "
    "VALUES (?, 1, ?, ?, 0, 0, ?, '', '', '', ?, ?, '', ?, x'')"
)
_CLAIM: Final = (
    "UPDATE intent SET state = 3, attempts = attempts + 1, claim = ?, worker = ?, timed_us = ? "
    "WHERE seq IN (SELECT seq FROM intent WHERE state = 1 AND route = '' "
    "ORDER BY rank_us, seq LIMIT 1) "
    "RETURNING seq, intent_id, attempts, max_attempts, payload, traceparent"
)
_DUE: Final = "SELECT seq FROM intent WHERE state IN (2, 3) AND timed_us <= ? LIMIT 64"
_COMPLETE: Final = (
    "UPDATE intent SET state = 5, timed_us = ? "
    "WHERE seq = ? AND claim = ? AND state = 3 RETURNING order_key"
)


class BareSqlite:
    """The operations of the benchmark without the store."""

    def __init__(self, path: Path) -> None:
        self._db = open_writer(path)
        make_durable(self._db)
        migrate(self._db)
        grow_wal(path)
        self._execute = self._db.cursor().execute
        self._keys = deque((f"bench-{number}", 0) for number in range(KEYS))
        self._numbers = itertools.count()
        self._waiting = 0

    def close(self) -> None:
        """Closes the file."""
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
                    "UPDATE workflow SET expires_us = ? WHERE workflow_id = ?",
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
        self._execute("BEGIN IMMEDIATE")
        yield time.time_ns() // 1000
        self._execute("COMMIT")

    def _grant(self, name: str, now_us: int, ttl_us: int) -> None:
        (row,) = self._execute("UPDATE meta SET fence = fence + 1 RETURNING fence").fetchall()
        self._execute(
            "INSERT OR REPLACE INTO workflow "
            "(workflow_id, fence, lease_id, request_id, holder, ttl_us, expires_us) "
            "VALUES (?, ?, ?, ?, 'orchestrator/bench', ?, ?)",
            (name, row[0], new_id(now_us), str(next(self._numbers)), ttl_us, now_us + ttl_us),
        )

    def _change(self, key: str, expected: int, fence: int, now_us: int) -> None:
        row = self._execute("SELECT id, version FROM state WHERE key = ?", (key,)).fetchone()
        if (row[1] if row else 0) != expected:
            raise RuntimeError("another version")
        if row is None:
            insert = "INSERT INTO state (key, version, open) VALUES (?, 1, 0)"
            self._execute(insert, (key,))
            state_id = self._db.last_insert_rowid()
        else:
            state_id = row[0]
            update = "UPDATE state SET version = ? WHERE id = ?"
            self._execute(update, (expected + 1, state_id))
        self._execute(HISTORY, (state_id, expected + 1, fence, now_us, STATE_TYPE, STATE))

    def _emit(self, intents: tuple[NewIntent, ...], now_us: int) -> None:
        self._db.executemany(
            INTENT,
            [intent_row(each, now_us) for each in intents],
        )


def intent_row(each: NewIntent, now_us: int) -> tuple[object, ...]:
    rank = rank_us(each.priority, now_us)
    about = (each.max_attempts, now_us, each.correlation_id, PAYLOAD)
    return each.intent_id, each.priority, rank, *about
