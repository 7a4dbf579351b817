"""A refused member of a batch leaves nothing behind: the others go on in the same transaction.

A batch that runs again takes new fences for its leases, so fences that follow directly on the last
one show that it ran once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import pytest

from onex_grpc.errors import (
    AlreadyExistsError,
    ContractValidationError,
    EpochMismatchError,
    HistoryNotFoundError,
    LeaseConflictError,
    LeaseExpiredError,
    LeaseValidationError,
    OnexError,
    StaleFenceError,
    StoreInUseError,
)
from onex_grpc.store import (
    Checkpoint,
    Commit,
    Committed,
    Exact,
    FenceOnly,
    Guard,
    LeaseGrant,
    NewEvent,
    NodeEntry,
    Rollback,
    Started,
    workflow_key,
)
from tests.store.builders import KEY, WORKFLOW, action, change, intent, request
from tests.store.together import Together

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from onex_grpc.store import Store
    from tests.store.conftest import Backend


@dataclass
class Scene:
    """A store, and leases that it has issued."""

    store: Store
    held: Guard
    ended: Guard


Call: TypeAlias = "Callable[[Scene], Coroutine[object, object, object]]"

# A lease that another store has issued: to note its fence is a write of the member itself.
NEWS = Guard("elsewhere", "lease", 7)
LONG = "k" * 5000


def _start(holder: str, *, workflow_id: str = "w2", **more: object) -> Call:
    commit = Commit(workflow_key(workflow_id), Exact(0), b"", "test.State", kind="TEST")
    first = replace(commit, **more)  # type: ignore[arg-type]
    wanted = request(holder, workflow_id=workflow_id)
    return lambda s: s.store.acquire_and_start(wanted, first)


def _under(guard: Callable[[Scene], Guard]) -> Call:
    return lambda s: s.store.commit(change(None, guard=guard(s)))


def _stale(scene: Scene) -> Guard:
    return replace(scene.held, fence=scene.held.fence - 1)


REFUSED: dict[str, tuple[type[OnexError], Call]] = {
    "version": (EpochMismatchError, lambda s: s.store.commit(change(5))),
    "version under a new guard": (
        EpochMismatchError,
        lambda s: s.store.commit(change(5, guard=NEWS)),
    ),
    "intent id": (
        AlreadyExistsError,
        lambda s: s.store.commit(change(2, guard=NEWS, intents=(intent("fresh"), intent("used")))),
    ),
    "intent id twice": (
        AlreadyExistsError,
        lambda s: s.store.commit(change(2, guard=NEWS, intents=(intent("same"), intent("same")))),
    ),
    "action": (
        AlreadyExistsError,
        lambda s: s.store.commit(change(2, guard=NEWS, actions=(action("used", "other"),))),
    ),
    "action twice": (
        ContractValidationError,
        lambda s: s.store.commit(change(2, guard=NEWS, actions=(action("a"), action("a")))),
    ),
    "fence": (StaleFenceError, _under(_stale)),
    "lease id": (LeaseValidationError, _under(lambda s: replace(s.held, lease_id="forged"))),
    "fence ahead": (LeaseValidationError, _under(lambda s: replace(s.held, fence=2**62))),
    "fence of none": (LeaseValidationError, _under(lambda _: replace(NEWS, fence=2**64 - 1))),
    "ended lease": (LeaseExpiredError, _under(lambda s: s.ended)),
    "start of a held one": (LeaseConflictError, _start("b", workflow_id=WORKFLOW)),
    "start at a version": (EpochMismatchError, _start("b", expect=Exact(3))),
    "start with an intent id": (AlreadyExistsError, _start("b", intents=(intent("used"),))),
    "start with an action": (
        AlreadyExistsError,
        _start("b", actions=(action("used", "other"),)),
    ),
    "acquire": (LeaseConflictError, lambda s: s.store.acquire_lease(request("b"))),
    "renew": (StaleFenceError, lambda s: s.store.renew_lease(_stale(s))),
    "release": (LeaseValidationError, lambda s: s.store.release_lease(Guard("none", "", 1))),
    "raise": (StaleFenceError, lambda s: s.store.raise_guard(_stale(s))),
    "checkpoint at a version": (
        EpochMismatchError,
        lambda s: s.store.checkpoint(Checkpoint(KEY, "new", Exact(5), NEWS)),
    ),
    "checkpoint of nothing": (
        HistoryNotFoundError,
        lambda s: s.store.checkpoint(Checkpoint("none", "new", FenceOnly(), NEWS)),
    ),
    "checkpoint by a name": (
        AlreadyExistsError,
        lambda s: s.store.checkpoint(Checkpoint(KEY, "used", FenceOnly(), NEWS)),
    ),
    "checkpoint by an action": (
        AlreadyExistsError,
        lambda s: s.store.checkpoint(
            Checkpoint(KEY, "new", FenceOnly(), NEWS, (action("used", "other"),))
        ),
    ),
    "rollback at a version": (
        EpochMismatchError,
        lambda s: s.store.rollback(Rollback(KEY, 1, Exact(5), NEWS)),
    ),
    "rollback to nothing": (
        HistoryNotFoundError,
        lambda s: s.store.rollback(Rollback(KEY, 99, FenceOnly(), NEWS)),
    ),
    "rollback to no name": (
        HistoryNotFoundError,
        lambda s: s.store.rollback(Rollback(KEY, "none", FenceOnly(), NEWS)),
    ),
    "rollback to no version of any store": (
        HistoryNotFoundError,
        lambda s: s.store.rollback(Rollback(KEY, 2**64 - 1, FenceOnly(), NEWS)),
    ),
    "failure under a fence": (
        StaleFenceError,
        lambda s: s.store.record_failure(action("a"), b"error", _stale(s)),
    ),
    "failure of another action": (
        AlreadyExistsError,
        lambda s: s.store.record_failure(action("used", "other"), b"error", NEWS),
    ),
    "cancel": (StaleFenceError, lambda s: s.store.cancel_intents(["id-used"], _stale(s))),
    "publish": (
        AlreadyExistsError,
        lambda s: s.store.publish_event(NewEvent("t", "used", b"other")),
    ),
    "register": (
        StoreInUseError,
        lambda s: s.store.register_node(NodeEntry("compute/a", "2", "other", "r", b"")),
    ),
    # What only a database would find is found before it is sent.
    "surrogate": (ContractValidationError, lambda s: s.store.commit(change(0, key="\ud800"))),
    "long key": (ContractValidationError, lambda s: s.store.commit(change(0, key=LONG))),
    "long workflow": (
        ContractValidationError,
        lambda s: s.store.acquire_lease(request(workflow_id=LONG)),
    ),
    "long intent": (
        ContractValidationError,
        lambda s: s.store.commit(change(None, intents=(intent(LONG),))),
    ),
    "long order": (
        ContractValidationError,
        lambda s: s.store.commit(change(None, intents=(intent("o", order_key=LONG),))),
    ),
    "long route": (
        ContractValidationError,
        lambda s: s.store.commit(change(None, intents=(intent("r", route=LONG),))),
    ),
    "long action": (
        ContractValidationError,
        lambda s: s.store.commit(change(None, actions=(action(LONG),))),
    ),
    "long topic": (
        ContractValidationError,
        lambda s: s.store.publish_event(NewEvent(LONG, "e", b"")),
    ),
    "long node": (
        ContractValidationError,
        lambda s: s.store.register_node(NodeEntry(LONG, "", "s", "r", b"")),
    ),
    "long name": (
        ContractValidationError,
        lambda s: s.store.checkpoint(Checkpoint(KEY, LONG, FenceOnly())),
    ),
    "basis": (
        ContractValidationError,
        lambda s: s.store.commit(
            change(None, guard=NEWS, actions=(replace(action("a"), epoch=2**64 - 1),))
        ),
    ),
    "basis of a failure": (
        ContractValidationError,
        lambda s: s.store.record_failure(replace(action("a"), epoch=2**64 - 1), b"e", None),
    ),
    "fence of an action": (
        ContractValidationError,
        lambda s: s.store.commit(change(None, actions=(replace(action("a"), fence=2**63),))),
    ),
    "time of an action": (
        ContractValidationError,
        lambda s: s.store.commit(change(None, actions=(replace(action("a"), issued_us=2**63),))),
    ),
    "attempts": (
        ContractValidationError,
        lambda s: s.store.commit(change(None, intents=(intent("m", max_attempts=2**31),))),
    ),
    "priority": (
        ContractValidationError,
        lambda s: s.store.commit(change(None, intents=(intent("p", priority=2**15),))),
    ),
    "ttl": (ContractValidationError, lambda s: s.store.acquire_lease(request("t", ttl_us=2**63))),
    "visibility": (ContractValidationError, lambda s: s.store.claim_intents("w", 1, 2**63)),
    "extension": (ContractValidationError, lambda s: s.store.extend_intents(["1.a"], 2**63)),
    "wait": (ContractValidationError, lambda s: s.store.fail_intent("1.a", b"", 2**63)),
}


@pytest.fixture
def together() -> Together:
    return Together()


@pytest.fixture
async def store(backend: Backend, together: Together) -> AsyncIterator[Store]:
    opened = await backend.open(on_batch=together)
    yield opened
    await opened.close()


@pytest.fixture
async def scene(store: Store) -> Scene:
    """What the members are refused for."""
    ended = await store.acquire_lease(request(workflow_id="ended"))
    await store.release_lease(ended.guard)
    held = await store.acquire_lease(request("a"))
    await store.commit(change(0, intents=(intent("used"),), actions=(action("used"),)))
    await store.checkpoint(Checkpoint(KEY, "used", FenceOnly()))
    await store.commit(change(1))
    await store.publish_event(NewEvent("t", "used", b"first"))
    await store.register_node(NodeEntry("compute/a", "1", "store", "r", b""))
    return Scene(store, held.guard, ended.guard)


@pytest.mark.parametrize("name", REFUSED)
async def test_batch_of_a_refused_member_runs_once(
    scene: Scene, together: Together, name: str
) -> None:
    error, refused = REFUSED[name]
    store = scene.store
    last = await store.acquire_lease(request(workflow_id="last"))
    *good, refusal = await together.run(
        store,
        store.acquire_lease(request(workflow_id="a1")),
        _start("a", workflow_id="a2")(scene),
        _start("a", workflow_id="z")(scene),
        store.acquire_lease(request(workflow_id="z1")),
        others=(refused(scene),),
    )
    assert type(refusal) is error
    leases = [each.lease if isinstance(each, Started) else each for each in good]
    fences = sorted(lease.fence for lease in leases if isinstance(lease, LeaseGrant))
    assert fences == [last.fence + number for number in (1, 2, 3, 4)]
    assert await store.known_fence(NEWS.workflow_id) is None
    assert (await store.get_state(KEY)).version == 2
    assert (await store.queue_stats()).pending == 1


async def test_ids_of_a_refused_member_are_free(scene: Scene, together: Together) -> None:
    store = scene.store
    refused, first, second = await together.run(
        store,
        store.commit(change(0, key="a", intents=(intent("fresh"), intent("used")))),
        store.commit(change(0, key="b", intents=(intent("fresh"),))),
        store.commit(change(0, key="c", intents=(intent("fresh"),))),
    )
    assert isinstance(refused, AlreadyExistsError)
    assert first == Committed(1)
    assert isinstance(second, AlreadyExistsError)
