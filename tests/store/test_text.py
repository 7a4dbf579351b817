"""Text with NUL is refused by all stores alike, before anything is written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from onex_grpc.errors import ContractValidationError
from onex_grpc.store import (
    Checkpoint,
    FenceOnly,
    Guard,
    IdempotencyRecord,
    NewEvent,
    NodeEntry,
    Rollback,
    Store,
)
from tests.store.builders import action, change, intent, request, step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

NUL = "a\0b"
GUARD = Guard(NUL, "lease", 1)
FINE = Guard("w1", "lease", 1)

CALLS: dict[str, Callable[[Store], Awaitable[object]]] = {
    "acquire": lambda s: s.acquire_lease(request(workflow_id=NUL)),
    "steal": lambda s: s.steal_lease(request(NUL)),
    "start": lambda s: s.acquire_and_start(request(), change(0, key=NUL)),
    "renew": lambda s: s.renew_lease(GUARD),
    "renew all": lambda s: s.renew_leases([GUARD]),
    "release": lambda s: s.release_lease(GUARD),
    "verify": lambda s: s.verify_lease(GUARD),
    "raise": lambda s: s.raise_guard(Guard("w", NUL, 1)),
    "get lease": lambda s: s.get_lease(NUL),
    "known fence": lambda s: s.known_fence(NUL),
    "commit": lambda s: s.commit(change(None, key=NUL)),
    "commit guard": lambda s: s.commit(change(None, guard=GUARD)),
    "commit action": lambda s: s.commit(change(None, actions=(action(NUL),))),
    "commit parent": lambda s: s.commit(
        change(None, actions=(replace(action("a"), parent_action_id=NUL),))
    ),
    "commit intent": lambda s: s.commit(change(None, intents=(intent(NUL),))),
    "commit order": lambda s: s.commit(change(None, intents=(intent("a", order_key=NUL),))),
    "commit kind": lambda s: s.commit(replace(change(None), kind=NUL)),
    "commit type": lambda s: s.commit(replace(change(None), state_type=NUL)),
    "checkpoint": lambda s: s.checkpoint(Checkpoint("k", NUL, FenceOnly())),
    "rollback": lambda s: s.rollback(Rollback("k", NUL, FenceOnly())),
    "get state": lambda s: s.get_state(NUL),
    "state at": lambda s: s.get_state_at("k", NUL),
    "history": lambda s: s.list_history(NUL, 0, 1),
    "actions": lambda s: s.list_actions(NUL, 0, 1),
    "prune": lambda s: s.prune_history(NUL, 1, 0),
    "find action": lambda s: s.find_action("s", NUL),
    "failure": lambda s: s.record_failure(action(NUL), b"", None),
    "pending guard": lambda s: s.record_pending(GUARD, []),
    "pending action": lambda s: s.record_pending(FINE, [step("a"), step(NUL)]),
    "pending step": lambda s: s.record_pending(FINE, [replace(step("a"), step_id=NUL)]),
    "pending target": lambda s: s.record_pending(FINE, [replace(step("a"), target=NUL)]),
    "pending ended": lambda s: s.record_pending(FINE, [step("a")], ["b", NUL]),
    "list pending": lambda s: s.list_pending(NUL),
    "open work": lambda s: s.list_open(NUL),
    "claim": lambda s: s.claim_intents(NUL, 1, 1),
    "take back": lambda s: s.take_back_intents(NUL, []),
    "complete": lambda s: s.complete_intents(["1." + NUL]),
    "fail": lambda s: s.fail_intent("1." + NUL, b"", None),
    "extend": lambda s: s.extend_intents(["1." + NUL], 1),
    "give back": lambda s: s.release_intents(["1." + NUL]),
    "redrive": lambda s: s.redrive_intents([NUL]),
    "cancel": lambda s: s.cancel_intents([NUL]),
    "publish": lambda s: s.publish_event(NewEvent("t", NUL, b"")),
    "events": lambda s: s.read_events(NUL, 0, 1),
    "head": lambda s: s.event_head(NUL),
    "outcome": lambda s: s.find_outcome(NUL),
    "record": lambda s: s.record_outcome(NUL, IdempotencyRecord(b"", b"")),
    "register node": lambda s: s.register_node(NodeEntry(NUL, "", "", "", b"")),
    "register instance": lambda s: s.register_node(NodeEntry("n", NUL, "", "", b"")),
    "register store": lambda s: s.register_node(NodeEntry("n", "", NUL, "", b"")),
    "register at": lambda s: s.register_node(NodeEntry("n", "", "", NUL, b"")),
    "unregister node": lambda s: s.unregister_node(NUL, "", ""),
    "unregister instance": lambda s: s.unregister_node("n", NUL, ""),
    "unregister at": lambda s: s.unregister_node("n", "", NUL),
    "forget": lambda s: s.forget_nodes(NUL),
    "secret": lambda s: s.get_or_create_secret(NUL, b""),
}


async def test_nul_is_refused_everywhere(store: Store) -> None:
    for name, call in CALLS.items():
        with pytest.raises(ContractValidationError, match="NUL"):
            pytest.fail(f"{name} gave {await call(store)!r}")
    assert (await store.get_state("workflow/w1")).version == 0
    assert list(await store.list_pending("w1")) == []
    assert await store.known_fence("w1") is None


async def test_other_characters_are_kept(store: Store) -> None:
    key = "k \x01\x7f\u200b\U0001f600\ud7ff'\"\\%s?"
    await store.commit(change(0, key=key, intents=(intent(key, order_key=key),)))
    assert (await store.get_state(key)).version == 1
    (claimed,) = await store.claim_intents(key, 1, 1)
    assert claimed.intent_id == f"id-{key}"
    await store.record_pending(Guard(key, key, 1), [step(key)])
    assert list(await store.list_pending(key)) == [step(key)]
