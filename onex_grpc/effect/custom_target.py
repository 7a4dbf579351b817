"""Operations of the user's own: found by the type of their message, done by the node's own code."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar, cast

from google.protobuf.message import Message

from onex_grpc.contract import data
from onex_grpc.effect.custom_call import CustomCall
from onex_grpc.effect.custom_stream import (
    BidiHandler,
    ClientStreamHandler,
    CustomStream,
    ServerStreamHandler,
    Work,
    each_alone,
    one_result,
)
from onex_grpc.effect.operation import CUSTOM, EffectRequest, Progress, Repeat
from onex_grpc.effect.refusal import refuse_kind
from onex_grpc.effect.target import Outcome, Plan
from onex_grpc.errors import (
    ConfigurationError,
    OnexError,
    OperationRefusedError,
    OutcomeUnknownError,
    UnavailableError,
)
from onex_grpc.rpc.passage import is_asked_for

if TYPE_CHECKING:
    from onex_grpc.effect.settings import CustomTarget

_log = logging.getLogger(__name__)
M = TypeVar("M", bound=Message)
_NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})


CustomHandler = Callable[[M, CustomCall], Awaitable["Message | data.JSON"]]


@dataclass(frozen=True, slots=True)
class _Registered:
    message_type: type[Message]
    handler: CustomHandler[Message]
    repeat: Repeat


class CustomOperations:
    """Which code does which custom operation."""

    def __init__(self) -> None:
        self._by_name: dict[str, _Registered] = {}
        self._streams: dict[str, CustomStream] = {}

    def add(self, message_type: type[M], handler: CustomHandler[M]) -> None:
        """Registers an operation that must not be repeated: interrupted, its outcome is unknown.

        Raises:
            ConfigurationError: when the type has a handler already.
        """
        self._add(message_type, handler, Repeat.NEVER)

    def add_idempotent(self, message_type: type[M], handler: CustomHandler[M]) -> None:
        """Registers an operation that leaves the same result when it is done twice.

        Raises:
            ConfigurationError: when the type has a handler already.
        """
        self._add(message_type, handler, Repeat.HARMLESS)

    def add_server_stream(
        self,
        message_type: type[M],
        handler: ServerStreamHandler[M],
        timeout: float | None = None,
    ) -> None:
        """Registers an operation that answers with a stream; it is never repeated.

        Args:
            message_type: of its message.
            handler: an async generator of results.
            timeout: seconds for the whole of it; None for any time.

        Raises:
            ConfigurationError: when the type has a handler already.
        """
        work = each_alone(cast("ServerStreamHandler[Message]", handler))
        self._add_stream(message_type, work, timeout)

    def add_client_stream(
        self,
        message_type: type[M],
        handler: ClientStreamHandler[M],
        timeout: float | None = None,
    ) -> None:
        """Registers an operation that takes a stream; as `add_server_stream`."""
        work = one_result(cast("ClientStreamHandler[Message]", handler))
        self._add_stream(message_type, work, timeout)

    def add_bidi(
        self, message_type: type[M], handler: BidiHandler[M], timeout: float | None = None
    ) -> None:
        """Registers an operation that takes and gives a stream; as `add_server_stream`."""
        self._add_stream(message_type, cast("BidiHandler[Message]", handler), timeout)

    @property
    def names(self) -> list[str]:
        """The full names of the message types, sorted."""
        return sorted([*self._by_name, *self._streams])

    @property
    def unary_names(self) -> list[str]:
        """Those of the operations without streams, which intents may ask for; sorted."""
        return sorted(self._by_name)

    def has_stream(self, name: str) -> bool:
        """Whether the operation for messages of this type takes or gives a stream."""
        return name in self._streams

    def stream(self, name: str) -> CustomStream:
        """The operation with a stream; raises OperationRefusedError for an unknown type."""
        if name not in self._streams:
            raise self._unknown(name)
        return self._streams[name]

    def plan(self, request: EffectRequest, options: Mapping[str, str] = _NO_OPTIONS) -> Plan:
        """The operation with its message read; raises OperationRefusedError for an unknown type."""
        refuse_kind(request, "custom")
        name = request.operation.custom.TypeName()
        registered = self._by_name.get(name)
        if registered is None:
            raise self._unknown(name)
        message = data.unpack_any(request.operation.custom, CUSTOM)

        async def perform(progress: Progress) -> Outcome:
            progress.begun = True
            # A new one for each attempt, which counts from the beginning again.
            call = CustomCall(request.target, options, request.key, request.correlation_id)
            return Outcome(data.pack(await _handle(registered, message, call)))

        return Plan(True, registered.repeat, perform)

    def _add(self, message_type: type[M], handler: CustomHandler[M], repeat: Repeat) -> None:
        untyped = cast("CustomHandler[Message]", handler)
        self._by_name[self._fresh(message_type)] = _Registered(message_type, untyped, repeat)

    def _add_stream(self, message_type: type[Message], work: Work, timeout: float | None) -> None:
        self._streams[self._fresh(message_type)] = CustomStream(work, timeout)

    def _fresh(self, message_type: type[Message]) -> str:
        name = message_type.DESCRIPTOR.full_name
        if name in self._by_name or name in self._streams:
            raise ConfigurationError(f"two handlers are registered for messages of type {name}")
        return name

    def _unknown(self, name: str) -> OperationRefusedError:
        if name in self._streams:
            text = f"the operation for {name} takes or gives a stream; call ExecuteEffectStream"
        else:
            known = ", ".join(self.names) or "none"
            text = f"this node has no operation for messages of type {name!r}; known are {known}"
        return OperationRefusedError(text, context={"type": name})


async def _handle(
    registered: _Registered, message: Message, call: CustomCall
) -> Message | data.JSON:
    try:
        return await registered.handler(message, call)
    except OnexError:
        raise
    except (Exception, asyncio.CancelledError) as error:
        # A cancellation that nobody asked for is a failure of the handler's own.
        if isinstance(error, asyncio.CancelledError) and is_asked_for():
            raise
        name = registered.message_type.DESCRIPTOR.full_name
        _log.exception("the handler of %s failed", name)
        text = f"the handler of {name} failed; see the node's log"
        if registered.repeat is Repeat.NEVER:
            raise OutcomeUnknownError(text) from error
        raise UnavailableError(text) from error


class CustomResource:
    """A target that only the node's own code can use."""

    kind = "custom"
    keeps_outcomes = False

    def __init__(self, settings: CustomTarget, operations: CustomOperations) -> None:
        self._options = MappingProxyType(dict(settings.options))
        self._operations = operations

    async def open(self) -> None:
        """Nothing to open: the node's own code does that in its `start`."""

    async def close(self) -> None:
        """Nothing to close."""

    @property
    def options(self) -> Mapping[str, str]:
        """The target's options."""
        return self._options

    def plan(self, request: EffectRequest) -> Plan:
        """The node's own operation for the message, with the target's options."""
        return self._operations.plan(request, self._options)
