"""Text that a database cannot keep is refused by all stores alike, before it is written."""

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

FINE = Guard("w1", "lease", 1)
BAD = {"NUL": "a\0b", "surrogate": "a\ud800"}

CALLS: dict[str, Callable[[Store, str], Awaitable[object]]] = {
    "acquire": lambda s, t: s.acquire_lease(request(workflow_id=t)),
    "steal": lambda s, t: s.steal_lease(request(t)),
    "start": lambda s, t: s.acquire_and_start(request(), change(0, key=t)),
    "renew": lambda s, t: s.renew_lease(Guard(t, "lease", 1)),
    "renew all": lambda s, t: s.renew_leases([Guard(t, "lease", 1)]),
    "release": lambda s, t: s.release_lease(Guard(t, "lease", 1)),
    "verify": lambda s, t: s.verify_lease(Guard(t, "lease", 1)),
    "raise": lambda s, t: s.raise_guard(Guard("w", t, 1)),
    "get lease": lambda s, t: s.get_lease(t),
    "known fence": lambda s, t: s.known_fence(t),
    "commit": lambda s, t: s.commit(change(None, key=t)),
    "commit guard": lambda s, t: s.commit(change(None, guard=Guard(t, "lease", 1))),
    "commit action": lambda s, t: s.commit(change(None, actions=(action(t),))),
    "commit parent": lambda s, t: s.commit(
        change(None, actions=(replace(action("a"), parent_action_id=t),))
    ),
    "commit intent": lambda s, t: s.commit(change(None, intents=(intent(t),))),
    "commit order": lambda s, t: s.commit(change(None, intents=(intent("a", order_key=t),))),
    "commit kind": lambda s, t: s.commit(replace(change(None), kind=t)),
    "commit type": lambda s, t: s.commit(replace(change(None), state_type=t)),
    "checkpoint": lambda s, t: s.checkpoint(Checkpoint("k", t, FenceOnly())),
    "rollback": lambda s, t: s.rollback(Rollback("k", t, FenceOnly())),
    "get state": lambda s, t: s.get_state(t),
    "state at": lambda s, t: s.get_state_at("k", t),
    "history": lambda s, t: s.list_history(t, 0, 1),
    "actions": lambda s, t: s.list_actions(t, 0, 1),
    "prune": lambda s, t: s.prune_history(t, 1, 0),
    "find action": lambda s, t: s.find_action("s", t),
    "failure": lambda s, t: s.record_failure(action(t), b"", None),
    "open work": lambda s, t: s.list_open(t),
    "claim": lambda s, t: s.claim_intents(t, 1, 1),
    "pending guard": lambda s, t: s.record_pending(Guard(t, "lease", 1), []),
    "pending action": lambda s, t: s.record_pending(FINE, [step("a"), step(t)]),
    "pending step": lambda s, t: s.record_pending(FINE, [replace(step("a"), step_id=t)]),
    "pending target": lambda s, t: s.record_pending(FINE, [replace(step("a"), target=t)]),
    "pending ended": lambda s, t: s.record_pending(FINE, [step("a")], ["b", t]),
    "list pending": lambda s, t: s.list_pending(t),
    "take back": lambda s, t: s.take_back_intents(t, []),
    "complete": lambda s, t: s.complete_intents(["1." + t]),
    "fail": lambda s, t: s.fail_intent("1." + t, b"", None),
    "extend": lambda s, t: s.extend_intents(["1." + t], 1),
    "give back": lambda s, t: s.release_intents(["1." + t]),
    "redrive": lambda s, t: s.redrive_intents([t]),
    "cancel": lambda s, t: s.cancel_intents([t]),
    "publish": lambda s, t: s.publish_event(NewEvent("t", t, b"")),
    "events": lambda s, t: s.read_events(t, 0, 1),
    "event": lambda s, t: s.find_event("t", t),
    "head": lambda s, t: s.event_span(t),
    "outcome": lambda s, t: s.find_outcome(t),
    "record": lambda s, t: s.record_outcome(t, IdempotencyRecord(b"", b"")),
    "register node": lambda s, t: s.register_node(NodeEntry(t, "", "", "", b"")),
    "register instance": lambda s, t: s.register_node(NodeEntry("n", t, "", "", b"")),
    "register store": lambda s, t: s.register_node(NodeEntry("n", "", t, "", b"")),
    "register at": lambda s, t: s.register_node(NodeEntry("n", "", "", t, b"")),
    "unregister node": lambda s, t: s.unregister_node(t, "", ""),
    "unregister instance": lambda s, t: s.unregister_node("n", t, ""),
    "unregister at": lambda s, t: s.unregister_node("n", "", t),
    "forget": lambda s, t: s.forget_nodes(t),
    "secret": lambda s, t: s.get_or_create_secret(t, b""),
}


@pytest.mark.parametrize("why", BAD)
async def test_what_is_no_text_everywhere_is_refused(store: Store, why: str) -> None:
    for name, call in CALLS.items():
        with pytest.raises(ContractValidationError, match=why):
            pytest.fail(f"{name} gave {await call(store, BAD[why])!r}")
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
