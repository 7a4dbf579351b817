"""Commits, checkpoints, rollbacks and pruning against a plain model, by a clock that jumps."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
from dataclasses import dataclass, field
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
from hypothesis.strategies import booleans, integers, none, sampled_from

from onex_grpc.errors import (
    AlreadyExistsError,
    EpochMismatchError,
    HistoryNotFoundError,
)
from onex_grpc.store import (
    Checkpoint,
    Committed,
    Exact,
    FenceOnly,
    IntentState,
    Replayed,
    Rollback,
    Store,
    open_store,
)
from tests.store.builders import SECOND, ManualClock, action, change, intent

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import TypeVar

    from tests.store.server import PostgresServer

    R = TypeVar("R")

KEYS = sampled_from(["orders/1", "orders/2"])
_numbers = itertools.count(1)


@dataclass
class Model:
    """What must be true of one key: its kept versions with when they were written, and its pins."""

    version: int = 0
    kept: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    pins: dict[str, int] = field(default_factory=dict)


class CommitMachine(RuleBasedStateMachine):
    """Two keys whose writers know, or do not know, the current version."""

    server: ClassVar[PostgresServer | None] = None

    @initialize()
    def open(self) -> None:
        shared = "/dev/shm"
        self.folder = tempfile.TemporaryDirectory(dir=shared if os.path.isdir(shared) else None)
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.models = {"orders/1": Model(), "orders/2": Model()}
        self.replies: dict[str, tuple[str, int]] = {}
        self.waiting: set[str] = set()
        self.made = 0
        self.owner = f"reducer/model-{next(_numbers)}"
        self.store = self._open()

    def _open(self) -> Store:
        address = self.server.address if self.server else Path(self.folder.name) / "s.db"
        return self._run(open_store(address, owner=self.owner, clock=self.clock))

    def _run(self, work: Coroutine[object, object, R]) -> R:
        return self.loop.run_until_complete(work)

    def _new(self) -> str:
        self.made += 1
        return str(self.made)

    @rule(seconds=integers(0, 30))
    def move_clock(self, seconds: int) -> None:
        self.clock.forward(seconds)

    @rule(key=KEYS, ahead=none() | integers(-1, 1), emits=booleans())
    def write(self, key: str, ahead: int | None, emits: bool) -> None:
        model, content = self.models[key], self._new()
        expect = None if ahead is None else model.version + ahead
        intents = (intent(content),) if emits else ()
        attempt = self.store.commit(change(expect, content.encode(), key=key, intents=intents))
        if ahead:
            with pytest.raises(EpochMismatchError):
                self._run(attempt)
            return
        assert self._run(attempt) == Committed(model.version + 1)
        self._written(model, content.encode())
        if emits:
            self.waiting.add(f"id-{content}")

    @rule(key=KEYS, action_id=sampled_from("abc"), content=sampled_from("xy"))
    def act(self, key: str, action_id: str, content: str) -> None:
        model = self.models[key]
        by = action(action_id, content)
        attempt = self.store.commit(change(None, b"acted", key=key, actions=(by,)))
        known = self.replies.get(action_id)
        if known is None:
            assert self._run(attempt) == Committed(model.version + 1)
            self._written(model, b"acted")
            self.replies[action_id] = (content, model.version)
        elif known[0] == content:
            replayed = self._run(attempt)
            assert isinstance(replayed, Replayed)
            assert replayed.action.epoch == known[1]
        else:
            with pytest.raises(AlreadyExistsError):
                self._run(attempt)

    @rule(key=KEYS, name=sampled_from("pq"), ahead=integers(0, 1))
    def pin(self, key: str, name: str, ahead: int) -> None:
        model = self.models[key]
        attempt = self.store.checkpoint(Checkpoint(key, name, Exact(model.version + ahead)))
        if ahead:
            with pytest.raises(EpochMismatchError):
                self._run(attempt)
        elif not model.version:
            with pytest.raises(HistoryNotFoundError):
                self._run(attempt)
        elif model.pins.get(name, model.version) != model.version:
            with pytest.raises(AlreadyExistsError):
                self._run(attempt)
        else:
            assert self._run(attempt) == Committed(model.version)
            model.pins[name] = model.version

    @rule(key=KEYS, to=sampled_from(["p", "q"]) | integers(1, 8))
    def roll_back(self, key: str, to: int | str) -> None:
        model = self.models[key]
        version = to if isinstance(to, int) else model.pins.get(to, 0)
        attempt = self.store.rollback(Rollback(key, to, FenceOnly()))
        if version not in model.kept:
            with pytest.raises(HistoryNotFoundError):
                self._run(attempt)
            return
        assert self._run(attempt) == Committed(model.version + 1)
        self._written(model, model.kept[version][0])

    @rule()
    def take(self) -> None:
        claims = self._run(self.store.claim_intents("effect/a", 1, 10**15))
        assert bool(claims) == bool(self.waiting)
        for claim in claims:
            self.waiting.remove(claim.intent_id)

    @rule(key=KEYS, keep=integers(1, 3), age=integers(0, 40))
    def prune(self, key: str, keep: int, age: int) -> None:
        model = self.models[key]
        cutoff_us = self.clock.now_us - age * SECOND
        old = max((v for v, (_, at) in model.kept.items() if at < cutoff_us), default=0)
        gone = [
            version
            for version in model.kept
            if version <= old - keep and version not in model.pins.values()
        ]
        assert self._run(self.store.prune_history(key, keep, age * SECOND)) == len(gone)
        for version in gone:
            del model.kept[version]

    @rule()
    def restart(self) -> None:
        self._run(self.store.close())
        self.store = self._open()
        # Opening a file adds to its time, so that none is used twice.
        self.clock.forward(1)

    @invariant()
    def shows_what_was_written(self) -> None:
        for key, model in getattr(self, "models", {}).items():
            row = self._run(self.store.get_state(key))
            assert row.version == model.version
            entries = self._run(self.store.list_history(key, 0, 1000))
            shown = {entry.version: entry.state for entry in entries}
            assert shown == {version: state for version, (state, _) in model.kept.items()}
            pins = {name: e.version for e in entries for name in e.checkpoints}
            assert pins == model.pins
            if model.version:
                assert row.state == model.kept[model.version][0]

    @invariant()
    def counts_what_waits(self) -> None:
        if hasattr(self, "waiting"):
            pending = self._run(self.store.list_intents(IntentState.PENDING, 0, 1000))
            assert {f"id-{row.payload.decode()}" for row in pending} == self.waiting
            assert self._run(self.store.queue_stats()).pending == len(self.waiting)

    def _written(self, model: Model, content: bytes) -> None:
        model.version += 1
        model.kept[model.version] = (content, self.clock.now_us)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self._run(self.store.close())
            self.loop.close()
            self.folder.cleanup()


def check(machine: type[CommitMachine], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(120)
def test_commits_follow_the_model() -> None:
    check(CommitMachine, 15)


@pytest.mark.timeout(120)
def test_commits_follow_the_model_on_postgresql(postgres: PostgresServer) -> None:
    class OnPostgres(CommitMachine):
        server = postgres

    check(OnPostgres, 5)
