"""The plain names of kinds and priorities that generated modules use."""

from __future__ import annotations

from typing import Final, TypeAlias

from onex.v1 import common_pb2, intent_pb2

COMPUTE: Final = common_pb2.NODE_TYPE_COMPUTE
EFFECT: Final = common_pb2.NODE_TYPE_EFFECT
REDUCER: Final = common_pb2.NODE_TYPE_REDUCER
ORCHESTRATOR: Final = common_pb2.NODE_TYPE_ORCHESTRATOR

RetryPolicy: TypeAlias = common_pb2.RetryPolicy
IntentPriority: TypeAlias = "intent_pb2.IntentPriority.ValueType"

CRITICAL: Final = intent_pb2.INTENT_PRIORITY_CRITICAL
HIGH: Final = intent_pb2.INTENT_PRIORITY_HIGH
NORMAL: Final = intent_pb2.INTENT_PRIORITY_NORMAL
LOW: Final = intent_pb2.INTENT_PRIORITY_LOW
BACKGROUND: Final = intent_pb2.INTENT_PRIORITY_BACKGROUND
