"""Nodes that run as processes: a reducer that emits what it is told, an effect node, the log."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import wrappers_pb2

from onex.v1 import effect_pb2, intent_pb2, node_pb2
from onex_grpc.errors import UnavailableError
from onex_grpc.node import NodeEffect, NodeOrchestrator, NodeReducer
from onex_grpc.reducer import ReducerAction, Reduction

if TYPE_CHECKING:
    from onex_grpc.effect import CustomCall, CustomOperations

Text = wrappers_pb2.StringValue


class Emitter(NodeReducer[Text]):
    """Emits the intents that an action brings along."""

    descriptor = node_pb2.NodeDescriptor(name="emitter", version="1.0.0")
    state_type = Text

    def transition(self, state: Text, action: ReducerAction) -> Reduction[Text]:
        """The name of the last action, and its intents."""
        request = action.message(effect_pb2.ExecuteIntentsRequest)
        return Reduction(Text(value=action.name), list(request.intents))


class Worker(NodeEffect):
    """Has an operation of its own that fails as its message says."""

    descriptor = node_pb2.NodeDescriptor(name="worker", version="1.0.0")

    def register_operations(self, operations: CustomOperations) -> None:
        """`fail N` fails N times; `never` fails always."""
        self._tried: Counter[str] = Counter()
        operations.add_idempotent(Text, self._fail)

    async def _fail(self, message: Text, call: CustomCall) -> str:
        self._tried[message.value] += 1
        times = message.value.removeprefix("fail ")
        if not times.isdecimal() or self._tried[message.value] <= int(times):
            raise UnavailableError(f"attempt {self._tried[message.value]} failed")
        return f"attempt {self._tried[message.value]}"


class Once(NodeEffect):
    """Has an operation that must not be repeated, and never ends."""

    descriptor = node_pb2.NodeDescriptor(name="once", version="1.0.0")

    def register_operations(self, operations: CustomOperations) -> None:
        """Notes in the file `done` what it was asked for."""
        operations.add(Text, self._do)

    async def _do(self, message: Text, call: CustomCall) -> str:
        _note(message.value)
        await asyncio.Event().wait()
        return ""


def _note(text: str) -> None:
    with Path("done").open("a") as file:
        file.write(f"{text}\n")


class Log(NodeOrchestrator):
    """Keeps the event log."""

    descriptor = node_pb2.NodeDescriptor(name="log", version="1.0.0")


MESSAGES = (effect_pb2.ExecuteIntentsRequest, intent_pb2.ModelIntent)
