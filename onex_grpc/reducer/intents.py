"""Intents between the transition that emits them and the queue that keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex.v1 import intent_pb2
from onex_grpc.contract import check
from onex_grpc.contract.ids import derived_uuid7
from onex_grpc.contract.intent import destination
from onex_grpc.contract.route import route_of
from onex_grpc.errors import ContractValidationError, OnexError
from onex_grpc.reducer.model import milliseconds
from onex_grpc.store.model import NewIntent
from onex_grpc.telemetry import SpanKind, names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.reducer.model import ReducerAction
    from onex_grpc.telemetry import Span, Telemetry

# Over two minutes with the default waits: what an intent needs may be restarted meanwhile, and the
# outside world is seldom back within the seconds that a caller would wait.
_DEFAULT_RETRIES: Final = 12


def complete_intents(
    emitted: Sequence[intent_pb2.ModelIntent], action: ReducerAction
) -> list[intent_pb2.ModelIntent]:
    """Copies with ids, correlation id and idempotency key filled in, and checked.

    Raises:
        OnexError: for an intent that breaks its contract: the reducer's fault, not its caller's.
        UnimplementedError: for a type of intent that is not built.
    """
    complete = [_complete(intent, action, index) for index, intent in enumerate(emitted)]
    ids = [intent.intent_id for intent in complete]
    if len(set(ids)) < len(ids):
        raise OnexError(f"{action.name} emitted two intents with one intent_id; leave it empty")
    return complete


def start_spans(
    intents: Sequence[intent_pb2.ModelIntent], telemetry: Telemetry, parent: str
) -> list[Span]:
    """A span of creation an intent, which the span of its execution will link to."""
    return [
        telemetry.start_span(
            f"create {destination(intent)}",
            SpanKind.PRODUCER,
            parent=parent,
            correlation_id=intent.correlation_id,
            attributes={
                names.MESSAGING_SYSTEM: "onex",
                names.MESSAGING_OPERATION: "create",
                names.MESSAGING_OPERATION_TYPE: "create",
                names.MESSAGING_DESTINATION: destination(intent),
                names.INTENT_ID: intent.intent_id,
                names.INTENT_TYPE: intent_pb2.IntentType.Name(intent.intent_type),
            },
        )
        for intent in intents
    ]


def queue_entry(intent: intent_pb2.ModelIntent, traceparent: str) -> NewIntent:
    """The intent as the queue stores it."""
    policy = intent.retry_policy
    retries = policy.max_retries if policy.HasField("max_retries") else _DEFAULT_RETRIES
    return NewIntent(
        intent_id=intent.intent_id,
        priority=intent.priority or intent_pb2.INTENT_PRIORITY_NORMAL,
        max_attempts=1 + retries,
        payload=intent.SerializeToString(deterministic=True),
        correlation_id=intent.correlation_id,
        traceparent=traceparent,
        order_key=intent.order_key,
        route=route_of(intent),
    )


def _complete(
    emitted: intent_pb2.ModelIntent, action: ReducerAction, index: int
) -> intent_pb2.ModelIntent:
    intent = intent_pb2.ModelIntent()
    intent.CopyFrom(emitted)
    if not intent.intent_id:
        intent.intent_id = derived_uuid7(
            milliseconds(action.issued_at), action.action_id, str(index)
        )
    if not intent.correlation_id:
        intent.correlation_id = action.correlation_id
    if not intent.idempotency_key:
        intent.idempotency_key = intent.intent_id
    try:
        check(intent)
    except ContractValidationError as error:
        raise OnexError(f"intent {index} of {action.name} is invalid: {error.message}") from error
    return intent
