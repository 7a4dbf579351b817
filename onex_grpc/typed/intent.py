"""Typed wishes for side effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from onex.v1 import common_pb2, intent_pb2

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
