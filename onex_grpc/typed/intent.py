"""Typed wishes for side effects."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Generic, TypeVar

from google.protobuf import descriptor_pool
from google.protobuf.message import Message

from onex.v1 import common_pb2, intent_pb2
from onex_grpc.errors import OnexError

if TYPE_CHECKING:
    from collections.abc import Sequence

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent(Generic[M]):
    """An rpc of an effect node that a reducer asks for; made by the generated constructors.

    Attributes:
        rpc: the rpc that is asked for, as `package.Service/Rpc`.
        request: its request; to be left alone from here on.
        priority: orders the queue.
        idempotency_key: names the effect for all time; the intent's id where it is empty.
        order_key: intents of the same one are executed one after another; empty for no order.
        retry: how the queue repeats it; None for the default of 12 repeats.
    """

    rpc: str
    request: M
    priority: intent_pb2.IntentPriority.ValueType = intent_pb2.INTENT_PRIORITY_NORMAL
    idempotency_key: str = ""
    order_key: str = ""
    retry: common_pb2.RetryPolicy | None = None


def model_intent(intent: Intent[M], emits: Sequence[str]) -> intent_pb2.ModelIntent:
    """The intent as the queue has it; the type of its request tells which rpc it asks for.

    Args:
        intent: as a reducer returned it.
        emits: the rpcs that its contract declares.

    Raises:
        OnexError: an rpc that is not declared, or a request that is not the rpc's.
    """
    if intent.rpc not in emits:
        raise OnexError(
            f"asks for {intent.rpc}, which the contract does not declare; add it to emits of"
            f" (onex.v1.node) (declared: {', '.join(emits) or 'none'})"
        )
    _check_request(intent)
    made = intent_pb2.ModelIntent(
        intent_type=intent_pb2.INTENT_TYPE_UNSPECIFIED,
        priority=intent.priority,
        idempotency_key=intent.idempotency_key,
        order_key=intent.order_key,
        retry_policy=intent.retry,
    )
    made.payload.custom.Pack(intent.request, deterministic=True)
    return made


def _check_request(intent: Intent[M]) -> None:
    given, wanted = intent.request.DESCRIPTOR.full_name, _request_type(intent.rpc)
    if given != wanted:
        raise OnexError(f"asks for {intent.rpc} with a {given}; its request is a {wanted}")


@cache
def _request_type(rpc: str) -> str:
    # A generated module imports the messages of all that its contract emits.
    method = descriptor_pool.Default().FindMethodByName(rpc.replace("/", "."))
    return method.input_type.full_name
