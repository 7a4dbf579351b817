"""Carries out operations with streams: fenced, audited, without a key, and never repeated."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onex.v1 import operation_pb2
from onex_grpc.context import current_call
from onex_grpc.effect.audit import audit
from onex_grpc.effect.custom_call import CustomCall
from onex_grpc.effect.fences import Fences
from onex_grpc.effect.operation import EffectRequest
from onex_grpc.effect.refusal import interrupted
from onex_grpc.errors import OnexError, OutcomeUnknownError
from onex_grpc.rpc.bounded import Limit, bounded
from onex_grpc.rpc.detail import reason_of
from onex_grpc.rpc.passage import is_asked_for
from onex_grpc.telemetry import SpanKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.protobuf.message import Message

    from onex_grpc.effect.custom_stream import CustomStream, Results
    from onex_grpc.effect.custom_target import CustomOperations
    from onex_grpc.effect.targets import EffectTargets
    from onex_grpc.store.protocol import Store
    from onex_grpc.telemetry import Span, Telemetry

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamOrder:
    """Which operation with a stream is wanted, and where.

    Attributes:
        message_type: full name of its messages.
        target: a target of the settings; empty for none.
        correlation_id: UUID text.
        timeout: seconds for the whole of it; None for any time.
    """

    message_type: str
    target: str = ""
    correlation_id: str = ""
    timeout: float | None = None


class EffectStreams:
    """Carries out operations with streams at the targets of one node.

    Args:
        targets: where effects happen; open.
        operations: the node's own operations.
        store: the node's own store, for fences.
        telemetry: records a span for each stream.
    """

    def __init__(
        self,
        targets: EffectTargets,
        operations: CustomOperations,
        store: Store,
        telemetry: Telemetry,
    ) -> None:
        self._targets = targets
        self._operations = operations
        self._fences = Fences(store)
        self._telemetry = telemetry

    async def run(self, order: StreamOrder, messages: AsyncIterator[Message]) -> Results:
        """The results of an operation over a stream of messages.

        Raises:
            TargetNotFoundError: for a target that the settings lack.
            OperationRefusedError: for a target that carries out no operations of the user's own.
            OutcomeUnknownError: when it did not end in time, or by a fault of the handler's own.
        """
        request = _request(order)
        call = current_call()
        started = time.monotonic()
        ending = "CANCELLED"
        try:
            with self._span(request, order):
                stream = self._operations.stream(order.message_type)
                options = self._targets.options(request) if order.target else {}
                if call is not None and call.lease is not None:
                    await self._fences.pass_with(call.lease)
                about = CustomCall(order.target, options, "", request.correlation_id)
                results = _guarded(stream.work(messages, about), order.message_type)
                limit = Limit(_shorter(stream, order), lambda: interrupted(request))
                async with aclosing(bounded(results, limit)) as timely:
                    async for result in timely:
                        yield result
            ending = "OK"
        except OnexError as error:
            ending = reason_of(error)
            raise
        finally:
            audit(request, ending, attempts=1, seconds=time.monotonic() - started)

    def _span(self, request: EffectRequest, order: StreamOrder) -> Span:
        call = current_call()
        return self._telemetry.start_span(
            f"effect {order.target or order.message_type}",
            SpanKind.CLIENT,
            parent=call.traceparent if call is not None else "",
            correlation_id=request.correlation_id,
        )


def _request(order: StreamOrder) -> EffectRequest:
    call = current_call()
    operation = operation_pb2.EffectOperation()
    operation.custom.type_url = f"type.googleapis.com/{order.message_type}"
    correlation_id = order.correlation_id or (call.correlation_id if call is not None else "")
    return EffectRequest(order.target, operation, "", correlation_id, b"")


def _shorter(stream: CustomStream, order: StreamOrder) -> float | None:
    return min((t for t in (stream.timeout, order.timeout) if t is not None), default=None)


async def _guarded(results: Results, message_type: str) -> Results:
    """Results whose handler's own faults say that nobody knows how far it came."""
    try:
        async for result in results:
            yield result
    except OnexError:
        raise
    except (Exception, asyncio.CancelledError) as error:
        # A cancellation that nobody asked for is a failure of the handler's own.
        if isinstance(error, asyncio.CancelledError) and is_asked_for():
            raise
        _log.exception("the handler of %s failed", message_type)
        text = f"the handler of {message_type} failed; see the node's log"
        raise OutcomeUnknownError(text) from error
    finally:
        await results.aclose()
