"""The store in memory is the plain model of the others: whatever operations hypothesis puts
together give the same results on it and on the others, by the same clock.
"""

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
    precondition,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import (
    SearchStrategy,
    booleans,
    builds,
    integers,
    lists,
    none,
    sampled_from,
    tuples,
)

from onex_grpc.store import (
    ActionRecord,
    Checkpoint,
    Commit,
    Exact,
    FenceOnly,
    Guard,
    IdempotencyRecord,
    IntentState,
    NewEvent,
    NewIntent,
    NodeEntry,
    PendingStep,
    Purged,
    PurgePosition,
    Retention,
    Rollback,
    StateRow,
    open_store,
    workflow_key,
)
from tests.store.builders import SECOND, ManualClock, action, change, intent, request, step
from tests.store.pairs import Pair, Side
from tests.store.test_purging import FOR_EVER, sweep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.store.server import PostgresServer

WORKFLOWS = ("w1", "w2", "elsewhere")
KEYS = (*map(workflow_key, WORKFLOWS), "orders/o1")
HOLDERS = ("orchestrator/a", "orchestrator/b")
WORKERS = ("effect/a", "effect/b")
TOPICS = ("orders", "stock")
_numbers = itertools.count(1)

some_workflow = sampled_from(WORKFLOWS)
some_holder = sampled_from(HOLDERS)
some_worker = sampled_from(WORKERS)
# Numbers of what was handed out, counted from the newest; there may be fewer.
some_number = integers(0, 5)
some_numbers = lists(some_number, max_size=3)
some_routes = lists(sampled_from(["a", "b", "c", "d"]), max_size=3)
some_wait = sampled_from([0, 1, 5, 30]).map(lambda seconds: seconds * SECOND)


@dataclass(frozen=True)
class Wish:
    """An intent to be made; one that is not new has an id that may be known."""

    is_new: bool
    priority: int
    max_attempts: int
    order_key: str
    route: str


@dataclass(frozen=True)
class Change:
    """A commit to be made; `ahead` is by how much the expected version is wrong, None is
    FenceOnly. `guard` is the number of a lease, negative for one that another store issued.
    """

    key: str
    ahead: int | None
    guard: int | None
    wishes: Sequence[Wish]
    actions: Sequence[ActionRecord]
    opened: bool | None
    release: bool


some_wishes = lists(
    builds(
        Wish,
        is_new=integers(0, 7).map(bool),
        priority=sampled_from([3, 3, 3, 1, 5, 9]),
        max_attempts=integers(1, 3),
        order_key=sampled_from(["", "", "o", "p"]),
        route=sampled_from(["", "a", "b", "c"]),
    ),
    max_size=3,
)
some_action: SearchStrategy[ActionRecord] = builds(
    action,
    sampled_from("abcdef"),
    sampled_from(["this", "this", "that"]),
    scope=some_workflow,
)
some_guard = none() | integers(-3, 5)
some_ahead = sampled_from([0, 0, 0, -1, 1, None])
some_change: SearchStrategy[Change] = builds(
    Change,
    key=sampled_from(KEYS),
    ahead=sampled_from([0, 0, 0, 0, -1, 1, None]),
    guard=some_guard,
    wishes=some_wishes,
    actions=lists(some_action, max_size=2),
    opened=sampled_from([None, True, False]),
    release=booleans(),
)


some_entry: SearchStrategy[NodeEntry] = builds(
    NodeEntry,
    node=sampled_from(["reducer/orders", "effect/mail"]),
    instance=sampled_from(["", "a", "b"]),
    store_id=sampled_from(["s1", "s1", "s2", ""]),
    registrar=sampled_from(HOLDERS),
    payload=sampled_from([b"", b"x"]),
)


some_ids = lists(sampled_from("abcdef"), max_size=3)
some_steps: SearchStrategy[list[PendingStep]] = lists(
    builds(
        step,
        sampled_from("abcdef"),
        attempts=integers(1, 9),
        left_us=none() | some_wait,
        retry_us=none() | some_wait,
    ),
    max_size=4,
)


class Twins(RuleBasedStateMachine):
    """A store in memory and another one, and a clock that jumps both ways."""

    server: ClassVar[PostgresServer | None] = None

    @initialize()
    def open(self) -> None:
        shared = "/dev/shm"
        self.folder = tempfile.TemporaryDirectory(dir=shared if os.path.isdir(shared) else None)
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.made = 0
        other = self.server.address if self.server else Path(self.folder.name) / "s.db"
        owner = f"reducer/twin-{next(_numbers)}"
        self.pair = Pair(
            self.loop,
            *(
                self.loop.run_until_complete(open_store(address, owner=owner, clock=self.clock))
                for address in ("memory:", other)
            ),
        )

    def teardown(self) -> None:
        if hasattr(self, "pair"):
            self.pair.close()
            self.loop.close()
            self.folder.cleanup()

    @rule(seconds=integers(-60, 60))
    def move_clock(self, seconds: int) -> None:
        self.clock.forward(seconds)

    @invariant()
    def show_the_same(self) -> None:
        if not hasattr(self, "pair"):
            return
        self.pair.same(
            *(lambda side, k=key: side.store.get_state(k) for key in KEYS),
            *(lambda side, w=flow: side.store.get_lease(w) for flow in WORKFLOWS),
            *(lambda side, w=flow: side.store.known_fence(w) for flow in WORKFLOWS),
            *(lambda side, w=flow: pending(side, w) for flow in WORKFLOWS),
            *(lambda side, s=state: side.store.list_intents(s, 0, 99) for state in IntentState),
            *(lambda side, t=topic: side.store.read_events(t, 0, 9) for topic in TOPICS),
            *(lambda side, t=topic: side.store.event_span(t) for topic in TOPICS),
            *(lambda side, t=topic: side.store.find_event(t, "a") for topic in TOPICS),
            *(lambda side, k=key: side.store.list_history(k, 1, 9) for key in KEYS),
            *(lambda side, w=flow: side.store.list_actions(w, 0, 9) for flow in WORKFLOWS),
            lambda side: side.store.queue_stats(),
            lambda side: side.store.list_open(""),
            lambda side: side.store.find_action("w1", "a"),
            lambda side: side.store.find_outcome("a"),
            lambda side: side.store.list_nodes(),
        )

    def _intent(self, wish: Wish) -> NewIntent:
        self.made += wish.is_new
        return intent(
            str(self.made),
            priority=wish.priority,
            max_attempts=wish.max_attempts,
            order_key=wish.order_key,
            route=wish.route,
        )


class SameQueue(Twins):
    """The life of intents, with nothing beside it that keeps one from being made."""

    @rule(wishes=some_wishes)
    def emit(self, wishes: Sequence[Wish]) -> None:
        commit = change(None, key="orders/o1", intents=tuple(map(self._intent, wishes)))
        self.pair.same(lambda side: side.store.commit(commit))

    @rule(worker=some_worker, limit=integers(0, 3), visibility=some_wait, accepts=some_routes)
    def claim(self, worker: str, limit: int, visibility: int, accepts: Sequence[str]) -> None:
        self.pair.same(lambda side: claim(side, worker, limit, visibility, accepts))

    @rule(numbers=some_numbers)
    def complete(self, numbers: Sequence[int]) -> None:
        self.pair.same(lambda side: side.store.complete_intents(tokens(side, numbers)))

    @precondition(lambda self: self.pair.tokens > 0)
    @rule(number=some_number, again=none() | some_wait)
    def fail(self, number: int, again: int | None) -> None:
        self.pair.same(
            lambda side: side.store.fail_intent(tokens(side, [number])[0], b"error", again)
        )

    @rule(numbers=some_numbers, visibility=some_wait)
    def extend(self, numbers: Sequence[int], visibility: int) -> None:
        self.pair.same(lambda side: side.store.extend_intents(tokens(side, numbers), visibility))

    @rule(numbers=some_numbers)
    def give_back(self, numbers: Sequence[int]) -> None:
        self.pair.same(lambda side: side.store.release_intents(tokens(side, numbers)))

    @rule(worker=some_worker, keep=some_numbers)
    def take_back(self, worker: str, keep: Sequence[int]) -> None:
        self.pair.same(lambda side: side.store.take_back_intents(worker, tokens(side, keep)))

    @rule(number=some_number, names=lists(integers(0, 9), max_size=3))
    def redrive(self, number: int, names: Sequence[int]) -> None:
        self.pair.same(lambda side: side.store.redrive_dead(number))
        ids = [f"id-{name}" for name in names]
        self.pair.same(lambda side: side.store.redrive_intents(ids))

    @rule(names=lists(integers(0, 9), max_size=2))
    def cancel(self, names: Sequence[int]) -> None:
        ids = [f"id-{name}" for name in names]
        self.pair.same(lambda side: side.store.cancel_intents(ids))


class SameQueueOnPostgres(SameQueue):
    """The same beside PostgreSQL, whose time goes on a little when its server's steps back."""

    @rule(seconds=integers(0, 60))
    def move_clock(self, seconds: int) -> None:
        self.clock.forward(seconds)


class SameResults(SameQueue):
    """Leases, commits, the queue, events and outcomes, in any mixture."""

    def _version(self, key: str) -> int:
        (row,) = self.pair.same(lambda side: side.store.get_state(key))
        assert isinstance(row, StateRow)
        return row.version

    def _commit(self, wanted: Change) -> Callable[[Side], Commit]:
        expect = None if wanted.ahead is None else self._version(wanted.key) + wanted.ahead
        intents = tuple(self._intent(wish) for wish in wanted.wishes)

        def of(side: Side) -> Commit:
            return change(
                expect,
                b"%d" % self.made,
                key=wanted.key,
                guard=None if wanted.guard is None else guard(side, wanted.guard),
                intents=intents,
                actions=tuple(wanted.actions),
                reply=b"%d" % self.made,
                opened=wanted.opened,
                release=wanted.release,
            )

        return of

    # Leases

    @rule(
        workflow_id=some_workflow,
        holder=some_holder,
        own=booleans(),
        request_id=sampled_from(["r1", "r2", "r3", ""]),
        ttl=integers(1, 60),
    )
    def acquire(self, workflow_id: str, holder: str, own: bool, request_id: str, ttl: int) -> None:
        wish = request(
            holder,
            workflow_id=workflow_id,
            request_id=request_id,
            ttl_us=ttl * SECOND,
            take_over_own=own,
        )
        self.pair.same(lambda side: side.store.acquire_lease(wish))

    @rule(workflow_id=some_workflow, holder=some_holder, request_id=sampled_from(["r1", "r2", ""]))
    def steal(self, workflow_id: str, holder: str, request_id: str) -> None:
        wish = request(holder, workflow_id=workflow_id, request_id=request_id)
        self.pair.same(lambda side: side.store.steal_lease(wish))

    @rule(workflow_id=some_workflow, holder=some_holder, wanted=some_change)
    def start(self, workflow_id: str, holder: str, wanted: Change) -> None:
        wish = request(holder, workflow_id=workflow_id)
        commit = self._commit(
            Change(
                workflow_key(workflow_id),
                wanted.ahead,
                None,
                wanted.wishes,
                wanted.actions,
                wanted.opened,
                wanted.release,
            )
        )
        self.pair.same(lambda side: side.store.acquire_and_start(wish, commit(side)))

    @rule(numbers=lists(integers(-3, 5), max_size=3))
    def renew_all(self, numbers: Sequence[int]) -> None:
        self.pair.same(
            lambda side: side.store.renew_leases([guard(side, number) for number in numbers])
        )

    @rule(number=integers(-3, 5))
    def use(self, number: int) -> None:
        self.pair.same(lambda side: side.store.verify_lease(guard(side, number)))
        self.pair.same(lambda side: side.store.raise_guard(guard(side, number)))
        self.pair.same(lambda side: side.store.renew_lease(guard(side, number)))

    @rule(number=integers(-3, 5))
    def release(self, number: int) -> None:
        self.pair.same(lambda side: side.store.release_lease(guard(side, number)))

    # Commits

    @rule(wanted=lists(some_change, min_size=1, max_size=3))
    def commit(self, wanted: Sequence[Change]) -> None:
        commits = [self._commit(one) for one in wanted]

        def doing(commit: Callable[[Side], Commit]) -> Callable[[Side], Awaitable[object]]:
            return lambda side: side.store.commit(commit(side))

        self.pair.same(*map(doing, commits))

    @rule(
        key=sampled_from(KEYS),
        name=sampled_from("xy"),
        ahead=some_ahead,
        number=some_guard,
        by=lists(some_action, max_size=1),
    )
    def pin(
        self,
        key: str,
        name: str,
        ahead: int | None,
        number: int | None,
        by: Sequence[ActionRecord],
    ) -> None:
        expect = FenceOnly() if ahead is None else Exact(self._version(key) + ahead)

        def doing(side: Side) -> Awaitable[object]:
            held = None if number is None else guard(side, number)
            return side.store.checkpoint(Checkpoint(key, name, expect, held, by, b"pinned"))

        self.pair.same(doing)
        self.pair.same(lambda side: side.store.get_state_at(key, name))

    @rule(
        key=sampled_from(KEYS),
        to=sampled_from(["x", "y", 1, 2, 3]),
        ahead=some_ahead,
        number=some_guard,
        by=lists(some_action, max_size=1),
    )
    def roll_back(
        self,
        key: str,
        to: int | str,
        ahead: int | None,
        number: int | None,
        by: Sequence[ActionRecord],
    ) -> None:
        expect = FenceOnly() if ahead is None else Exact(self._version(key) + ahead)

        def doing(side: Side) -> Awaitable[object]:
            held = None if number is None else guard(side, number)
            return side.store.rollback(Rollback(key, to, expect, held, "BACK", by, b"back"))

        self.pair.same(doing)

    @rule(key=sampled_from(KEYS), keep=integers(0, 3), age=some_wait)
    def prune(self, key: str, keep: int, age: int) -> None:
        self.pair.same(lambda side: side.store.prune_history(key, keep, age))

    @rule(failed=some_action, number=some_guard)
    def fail_action(self, failed: ActionRecord, number: int | None) -> None:
        self.pair.same(
            lambda side: side.store.record_failure(
                failed, b"error", None if number is None else guard(side, number)
            )
        )

    @rule(age=some_wait, versions=integers(1, 2), limit=integers(1, 9))
    def purge(self, age: int, versions: int, limit: int) -> None:
        rules = Retention(age, age, age, versions, age, age)
        position = PurgePosition()

        def doing(side: Side) -> Awaitable[object]:
            return side.store.purge(rules, position, limit)

        for _ in range(2):
            (purged,) = self.pair.same(doing)
            assert isinstance(purged, Purged)
            position = purged.position

    # Events, outcomes, secrets

    @rule(topic=sampled_from(TOPICS), event_id=sampled_from("abc"), payload=sampled_from("xy"))
    def publish(self, topic: str, event_id: str, payload: str) -> None:
        event = NewEvent(topic, event_id, payload.encode())
        self.pair.same(lambda side: side.store.publish_event(event))

    @rule(key=sampled_from("ab"), reply=sampled_from("xy"))
    def record(self, key: str, reply: str) -> None:
        outcome = IdempotencyRecord(b"hash", reply.encode())
        self.pair.same(lambda side: side.store.record_outcome(key, outcome))
        self.pair.same(lambda side: side.store.get_or_create_secret(key, reply.encode()))


class SameRegistry(Twins):
    """The processes that come, say something new, and go."""

    @rule(entries=lists(some_entry, min_size=1, max_size=3))
    def register(self, entries: Sequence[NodeEntry]) -> None:
        def doing(entry: NodeEntry) -> Callable[[Side], Awaitable[object]]:
            return lambda side: side.store.register_node(entry)

        self.pair.same(*map(doing, entries))

    @rule(entry=some_entry)
    def unregister(self, entry: NodeEntry) -> None:
        self.pair.same(
            lambda side: side.store.unregister_node(entry.node, entry.instance, entry.registrar)
        )

    @rule(registrar=sampled_from(HOLDERS))
    def forget(self, registrar: str) -> None:
        self.pair.same(lambda side: side.store.forget_nodes(registrar))


class SameRegistryOnPostgres(SameRegistry):
    """The same beside PostgreSQL."""

    @rule(seconds=integers(0, 60))
    def move_clock(self, seconds: int) -> None:
        self.clock.forward(seconds)


class SameSteps(Twins):
    """Workflows that begin, record what is under way, and end; and what is left of them."""

    @rule(workflow_id=some_workflow, holder=some_holder, ttl=integers(1, 60))
    def acquire(self, workflow_id: str, holder: str, ttl: int) -> None:
        wish = request(holder, workflow_id=workflow_id, ttl_us=ttl * SECOND)
        self.pair.same(lambda side: side.store.acquire_lease(wish))

    @rule(workflow_id=some_workflow, holder=some_holder)
    def steal(self, workflow_id: str, holder: str) -> None:
        wish = request(holder, workflow_id=workflow_id)
        self.pair.same(lambda side: side.store.steal_lease(wish))

    @rule(number=some_number)
    def release(self, number: int) -> None:
        self.pair.same(lambda side: side.store.release_lease(guard(side, number)))

    @rule(key=sampled_from(KEYS), opened=booleans())
    def commit(self, key: str, opened: bool) -> None:
        self.pair.same(lambda side: side.store.commit(change(None, key=key, opened=opened)))

    @rule(records=lists(tuples(integers(-3, 5), some_steps, some_ids), min_size=1, max_size=3))
    def record(self, records: Sequence[tuple[int, list[PendingStep], list[str]]]) -> None:
        def doing(
            number: int, steps: Sequence[PendingStep], ended: Sequence[str]
        ) -> Callable[[Side], Awaitable[object]]:
            return lambda side: side.store.record_pending(guard(side, number), steps, ended)

        self.pair.same(*(doing(*each) for each in records))

    @rule(limit=integers(1, 9))
    def sweep(self, limit: int) -> None:
        # The numbers by which a sweep goes on are each store's own.
        self.pair.same(lambda side: sweep(side.store, FOR_EVER, limit))


class SameStepsOnPostgres(SameSteps):
    """The same beside PostgreSQL."""

    @rule(seconds=integers(0, 60))
    def move_clock(self, seconds: int) -> None:
        self.clock.forward(seconds)


async def pending(side: Side, workflow_id: str) -> object:
    """The pending steps of a workflow; a list in any case."""
    return list(await side.store.list_pending(workflow_id))


def guard(side: Side, number: int) -> Guard:
    """A lease by its number from the newest, or one that another store issued; its fences are far
    apart, so that none is by chance one that a store issues here.
    """
    if number < 0 or not side.guards:
        return Guard("elsewhere", f"lease {number % 3}", (number % 3 + 1) * 1_000_000)
    return side.guards[-1 - number % len(side.guards)]


def tokens(side: Side, numbers: Sequence[int]) -> Sequence[str]:
    """Claims by their numbers from the newest."""
    return [side.tokens[-1 - n % len(side.tokens)] for n in numbers if side.tokens]


async def claim(
    side: Side, worker: str, limit: int, visibility_us: int, accepts: Sequence[str] = ()
) -> object:
    """Claims intents; a list in any case."""
    return list(await side.store.claim_intents(worker, limit, visibility_us, accepts))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("machine", [SameQueue, SameRegistry, SameResults, SameSteps])
def test_memory_and_sqlite_give_the_same_results(machine: type[Twins]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "machine", [SameQueueOnPostgres, SameRegistryOnPostgres, SameStepsOnPostgres]
)
def test_memory_and_postgresql_give_the_same_results(
    postgres: PostgresServer, machine: type[Twins], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "server", postgres)

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=8,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
