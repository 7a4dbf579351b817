"""Spans of the store: how long a call waited for its writes to be durable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar, cast

from onex_grpc.context import current_call
from onex_grpc.telemetry import SpanKind, Telemetry
from onex_grpc.telemetry.traceparent import is_sampled

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from onex_grpc.store.protocol import Store

R = TypeVar("R")

_WRITES: Final = (
    "acquire_lease",
    "steal_lease",
    "acquire_and_start",
    "release_lease",
    "commit",
    "raise_guard",
    "record_failure",
    "record_pending",
    "record_outcome",
    "publish_event",
    "register_node",
    "unregister_node",
    "forget_nodes",
)


def traced(store: Store, telemetry: Telemetry) -> Store:
    """The store with a span around each write that a recorded call makes; itself without a
    recorder.
    """
    return store if telemetry.recorder is None else cast("Store", _TracedStore(store, telemetry))


class _TracedStore:
    """Hands everything on; the writes through a span where the trace of the current call is
    recorded.
    """

    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry
        for name in _WRITES:
            setattr(self, name, self._wrap(name))

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def _wrap(self, name: str) -> object:
        write = getattr(self._store, name)
        span_name = f"store {name}"

        def wrapped(*arguments: object, **named: object) -> Coroutine[object, object, object]:
            call = current_call()
            pending: Coroutine[object, object, object] = write(*arguments, **named)
            if call is None or not is_sampled(call.traceparent):
                return pending
            return self._observe(span_name, call.traceparent, call.correlation_id, pending)

        return wrapped

    async def _observe(
        self, name: str, parent: str, correlation_id: str, pending: Coroutine[object, object, R]
    ) -> R:
        span = self._telemetry.start_span(
            name, SpanKind.INTERNAL, parent=parent, correlation_id=correlation_id
        )
        with span:
            return await pending
