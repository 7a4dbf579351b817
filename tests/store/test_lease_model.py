"""Leases against a plain model, over whatever calls and clock steps hypothesis puts together."""

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
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import booleans, integers, sampled_from

from onex_grpc.errors import LeaseConflictError, OnexError
from onex_grpc.store import Committed, Guard, LeaseGrant, NewEvent, Store, open_store, workflow_key
from onex_grpc.store.sqlite.transaction import CLOCK_LAG_US
from tests.store.builders import SECOND, ManualClock, change, request

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import TypeVar

    from tests.store.server import PostgresServer

    R = TypeVar("R")

WORKFLOWS = sampled_from(["w1", "w2"])
_numbers = itertools.count(1)

HOLDERS = sampled_from(["orchestrator/a", "orchestrator/b"])


@dataclass
class Model:
    """What must be true of one workflow, by the store's time that never steps back."""

    lease: LeaseGrant | None = None
    expires_us: int = 0
    version: int = 0


class LeaseMachine(RuleBasedStateMachine):
    """Two workflows, two holders, a clock that jumps both ways, restarts in between."""

    leases = Bundle("leases")
    server: ClassVar[PostgresServer | None] = None

    @initialize()
    def open(self) -> None:
        # In memory where there is such a file system: nothing here is about durability.
        shared = "/dev/shm"
        self.folder = tempfile.TemporaryDirectory(dir=shared if os.path.isdir(shared) else None)
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.now_us = self.clock.now_us
        self.models = {"w1": Model(), "w2": Model()}
        self.highest_fence = 0
        self.requests = 0
        self.looks = 0
        self.owner = f"orchestrator/model-{next(_numbers)}"
        self.store = self._open()

    def _open(self) -> Store:
        address = self.server.address if self.server else Path(self.folder.name) / "s.db"
        return self._run(open_store(address, owner=self.owner, clock=self.clock))

    def _run(self, work: Coroutine[object, object, R]) -> R:
        return self.loop.run_until_complete(work)

    def _live(self, workflow_id: str) -> LeaseGrant | None:
        model = self.models[workflow_id]
        return model.lease if model.expires_us > self.now_us else None

    def _is_current(self, guard: Guard) -> bool:
        live = self._live(guard.workflow_id)
        return live is not None and live.guard == guard

    def _look_at_time(self, at_most: int) -> None:
        self.looks += 1
        event = NewEvent("time", str(self.looks), b"")
        now_us = self._run(self.store.publish_event(event)).published_us
        assert self.now_us <= now_us <= at_most
        self.now_us = now_us

    @rule(seconds=integers(-100, 100))
    def move_clock(self, seconds: int) -> None:
        self.clock.forward(seconds)
        self._look_at_time(self.now_us + max(0, seconds) * SECOND)

    @rule(
        target=leases,
        workflow_id=WORKFLOWS,
        holder=HOLDERS,
        own=booleans(),
        ttl=integers(1, 60),
    )
    def acquire(self, workflow_id: str, holder: str, own: bool, ttl: int) -> Guard:
        self.requests += 1
        wish = request(
            holder,
            workflow_id=workflow_id,
            request_id=str(self.requests),
            ttl_us=ttl * SECOND,
            take_over_own=own,
        )
        live = self._live(workflow_id)
        if live is not None and not (own and live.holder == holder):
            with pytest.raises(LeaseConflictError):
                self._run(self.store.acquire_lease(wish))
            return live.guard
        lease = self._run(self.store.acquire_lease(wish))
        assert lease.fence > self.highest_fence
        assert lease.epoch == self.models[workflow_id].version
        self.highest_fence = lease.fence
        self.models[workflow_id].lease = lease
        self.models[workflow_id].expires_us = self.now_us + ttl * SECOND
        again = self._run(self.store.acquire_lease(wish))
        assert again.guard == lease.guard
        return lease.guard

    @rule(target=leases, workflow_id=WORKFLOWS, ttl=integers(1, 60))
    def steal(self, workflow_id: str, ttl: int) -> Guard:
        self.requests += 1
        wish = request(
            "operator",
            workflow_id=workflow_id,
            request_id=str(self.requests),
            ttl_us=ttl * SECOND,
        )
        lease = self._run(self.store.steal_lease(wish))
        assert lease.fence > self.highest_fence
        self.highest_fence = lease.fence
        self.models[workflow_id].lease = lease
        self.models[workflow_id].expires_us = self.now_us + ttl * SECOND
        return lease.guard

    @rule(guard=leases)
    def renew(self, guard: Guard) -> None:
        (renewed,) = self._run(self.store.renew_leases([guard]))
        assert (renewed is not None) == self._is_current(guard)
        if renewed is not None:
            self.models[guard.workflow_id].expires_us = self.now_us + renewed.ttl_us

    @rule(guard=consumes(leases))
    def release(self, guard: Guard) -> None:
        current = self.models[guard.workflow_id].lease
        self._run(self.store.release_lease(guard))
        if current is not None and current.guard == guard:
            self.models[guard.workflow_id].expires_us = 0

    @rule(guard=leases)
    def write(self, guard: Guard) -> None:
        model = self.models[guard.workflow_id]
        key = workflow_key(guard.workflow_id)
        attempt = self.store.commit(change(model.version, key=key, guard=guard))
        if self._is_current(guard):
            assert self._run(attempt) == Committed(model.version + 1)
            model.version += 1
        else:
            with pytest.raises(OnexError):
                self._run(attempt)

    @rule()
    def restart(self) -> None:
        self._run(self.store.close())
        self.store = self._open()
        self._look_at_time(max(self.now_us + CLOCK_LAG_US, self.clock.now_us))

    @invariant()
    def shows_the_epoch(self) -> None:
        for workflow_id, model in getattr(self, "models", {}).items():
            row = self._run(self.store.get_state(workflow_key(workflow_id)))
            assert row.version == model.version

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self._run(self.store.close())
            self.loop.close()
            self.folder.cleanup()


def check(machine: type[LeaseMachine], examples: int) -> None:
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
def test_leases_follow_the_model() -> None:
    check(LeaseMachine, 20)


@pytest.mark.timeout(120)
def test_leases_follow_the_model_on_postgresql(postgres: PostgresServer) -> None:
    class OnPostgres(LeaseMachine):
        server = postgres

    check(OnPostgres, 8)
