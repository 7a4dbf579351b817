"""The queue against a plain model: ranks, routes, orders, waits; and who waits is woken in time."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import builds, integers, lists, none, sampled_from

from onex_grpc.store import IntentState, Store, open_store
from onex_grpc.store.queue_rules import rank_us
from tests.store.builders import SECOND, ManualClock, change, intent

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from typing import TypeVar

    from hypothesis.strategies import SearchStrategy

    from tests.store.server import PostgresServer

    R = TypeVar("R")

_numbers = itertools.count(1)
_AT_ONCE = 0.002
"""Seconds in which a wait ends that has nothing to wait for, or goes on."""


@dataclass
class Row:
    """An intent as it must be: `due_us` is when its wait or its visibility ends, 0 if ready."""

    name: str
    priority: int
    order_key: str
    route: str
    rank_us: int
    attempts: int = 0
    due_us: int = 0
    token: str = ""


some_row: SearchStrategy[Row] = builds(
    Row,
    name=sampled_from([""]),
    priority=sampled_from([3, 3, 1, 5]),
    order_key=sampled_from(["", "", "o", "p"]),
    route=sampled_from(["", "a", "b", "c"]),
    rank_us=integers(0, 0),
)
some_routes = lists(sampled_from(["a", "b", "c", "d"]), max_size=2, unique=True)
some_wait = sampled_from([1, 5, 30]).map(lambda seconds: seconds * SECOND)


class QueueMachine(RuleBasedStateMachine):
    """Workers of different routes at one queue."""

    address: ClassVar[str] = ""
    server: ClassVar[PostgresServer | None] = None
    max_attempts = 3

    @initialize()
    def open(self) -> None:
        shared = "/dev/shm"
        self.folder = tempfile.TemporaryDirectory(dir=shared if os.path.isdir(shared) else None)
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.rows: list[Row] = []
        self.made = 0
        self.owner = f"reducer/queue-model-{next(_numbers)}"
        self.store = self._open()

    def _open(self) -> Store:
        address = self.server.address if self.server else Path(self.folder.name) / "s.db"
        return self._run(open_store(self.address or address, owner=self.owner, clock=self.clock))

    def _run(self, work: Coroutine[object, object, R]) -> R:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self._run(self.store.close())
            self.loop.close()
            self.folder.cleanup()

    @rule(seconds=integers(0, 40))
    def move_clock(self, seconds: int) -> None:
        self.clock.forward(seconds)

    @rule(wishes=lists(some_row, min_size=1, max_size=4))
    def emit(self, wishes: Sequence[Row]) -> None:
        made = []
        for wish in wishes:
            self.made += 1
            rank = rank_us(wish.priority, self.clock.now_us)
            row = Row(str(self.made), wish.priority, wish.order_key, wish.route, rank)
            self.rows.append(row)
            made.append(
                intent(
                    row.name,
                    priority=row.priority,
                    max_attempts=self.max_attempts,
                    order_key=row.order_key,
                    route=row.route,
                )
            )
        self._run(self.store.commit(change(None, key="orders/o", intents=tuple(made))))

    @rule(accepts=some_routes, limit=integers(1, 3), visibility=some_wait)
    def claim(self, accepts: Sequence[str], limit: int, visibility: int) -> None:
        self._settle_due()
        expected = self._claimable(accepts)[:limit]
        claimed = self._run(self.store.claim_intents("effect/w", limit, visibility, accepts))
        assert [one.payload.decode() for one in claimed] == [row.name for row in expected]
        for row, one in zip(expected, claimed, strict=True):
            row.attempts += 1
            row.token = one.claim_token
            row.due_us = self.clock.now_us + visibility
            assert one.attempt == row.attempts
        if len(claimed) < limit:
            assert self._goes_on_waiting(accepts)

    @rule(number=integers(0, 3))
    def complete(self, number: int) -> None:
        held = self._held(number)
        if held is not None:
            assert self._run(self.store.complete_intents([held.token])) == [True]
            self.rows.remove(held)

    @rule(number=integers(0, 3), again=none() | some_wait)
    def fail(self, number: int, again: int | None) -> None:
        held = self._held(number)
        if held is None:
            return
        state = self._run(self.store.fail_intent(held.token, b"", again))
        if again is None or held.attempts == self.max_attempts:
            assert state is IntentState.DEAD
            self.rows.remove(held)
            return
        assert state is IntentState.PENDING
        held.token, held.due_us = "", self.clock.now_us + again
        held.rank_us = rank_us(held.priority, held.due_us)

    @rule(number=integers(0, 3))
    def release(self, number: int) -> None:
        held = self._held(number)
        if held is not None:
            self._run(self.store.release_intents([held.token]))
            held.token, held.due_us, held.attempts = "", 0, held.attempts - 1

    @rule(number=integers(0, 3))
    def cancel(self, number: int) -> None:
        free = [row for row in self.rows if not row.token]
        if free:
            row = free[number % len(free)]
            told = self._run(self.store.cancel_intents([f"id-{row.name}"]))
            assert (told.cancelled, told.kept) == (1, ())
            self.rows.remove(row)

    @rule(accepts=some_routes)
    def wait(self, accepts: Sequence[str]) -> None:
        if self._claimable(accepts):
            self._run(asyncio.wait_for(self.store.wait_intents(None, accepts), 5))

    @rule()
    def restart(self) -> None:
        if self.address:
            return
        self._run(self.store.close())
        self.store = self._open()
        # Opening a file adds to its time, so that none is used twice.
        self.clock.forward(1)

    @invariant()
    def counts(self) -> None:
        if hasattr(self, "store"):
            stats = self._run(self.store.queue_stats())
            assert stats.pending + stats.in_flight == len(self.rows)

    def _settle_due(self) -> None:
        """What a claim finds first: waits that are over, and workers that did not report."""
        for row in [*self.rows]:
            if not row.due_us or row.due_us > self.clock.now_us:
                continue
            if row.token and row.attempts == self.max_attempts:
                self.rows.remove(row)
            row.token, row.due_us = "", 0

    def _claimable(self, accepts: Sequence[str]) -> list[Row]:
        """What may be handed out, by rank."""
        ready = [
            row
            for row in self.rows
            if not row.due_us
            and (not accepts or row.route in ("", *accepts))
            and self._is_first(row)
        ]
        return sorted(ready, key=lambda row: (row.rank_us, int(row.name)))

    def _is_first(self, row: Row) -> bool:
        if not row.order_key:
            return True
        return row is next(each for each in self.rows if each.order_key == row.order_key)

    def _held(self, number: int) -> Row | None:
        held = [row for row in self.rows if row.token]
        return held[number % len(held)] if held else None

    def _goes_on_waiting(self, accepts: Sequence[str]) -> bool:
        try:
            self._run(asyncio.wait_for(self.store.wait_intents(None, accepts), _AT_ONCE))
        except TimeoutError:
            return True
        return False


def check(machine: type[QueueMachine], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(120)
def test_queue_in_memory_follows_the_model() -> None:
    class InMemory(QueueMachine):
        address = "memory:"

    check(InMemory, 25)


@pytest.mark.timeout(120)
def test_queue_follows_the_model() -> None:
    check(QueueMachine, 20)


@pytest.mark.timeout(120)
def test_queue_follows_the_model_on_postgresql(postgres: PostgresServer) -> None:
    class OnPostgres(QueueMachine):
        server = postgres

    check(OnPostgres, 6)
