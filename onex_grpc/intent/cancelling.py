"""Ends intents before a worker takes them: for operators, and for rollbacks of workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex.v1 import intent_pb2
from onex_grpc.action.cancellation import add_to
from onex_grpc.context import current_call
from onex_grpc.store.model import Guard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from onex_grpc.store.model import KeptIntent
    from onex_grpc.store.protocol import IntentStore

    FindEmitted = Callable[[str], Awaitable[Sequence[str]]]

_AT_ONCE: Final = 1000


async def cancel(
    store: IntentStore, request: intent_pb2.CancelIntentsRequest, find_emitted: FindEmitted
) -> intent_pb2.IntentCancellation:
    """Cancels what is named and waits, under the lease of the call, where it has one.

    Args:
        store: the queue.
        request: names intents and actions.
        find_emitted: gives the ids of the intents that an action has emitted.

    Raises:
        StaleFenceError, LeaseValidationError: when a newer lease is known; nothing is cancelled.
    """
    guard = _guard()
    if guard is not None:
        # From here on no former holder's action emits anything that would not be found.
        await store.cancel_intents((), guard)
    names = list(request.intent_ids)
    for action_id in dict.fromkeys(request.action_ids):
        names += await find_emitted(action_id)
    names = list(dict.fromkeys(names))
    told = intent_pb2.IntentCancellation()
    # In portions, between which others write.
    for start in range(0, len(names), _AT_ONCE):
        done = await store.cancel_intents(names[start : start + _AT_ONCE], guard)
        add_to(told, done.cancelled, len(done.kept), map(_message, done.kept))
    return told


def _message(kept: KeptIntent) -> intent_pb2.KeptIntent:
    return intent_pb2.KeptIntent(
        intent_id=kept.intent_id, status=intent_pb2.IntentStatus.ValueType(kept.state)
    )


def _guard() -> Guard | None:
    call = current_call()
    if call is None or call.lease is None:
        return None
    return Guard(call.lease.workflow_id, call.lease.lease_id, call.lease.fence)
