"""Operations of the user's own: found by the type of their message, done by the node's own code."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar, cast

from google.protobuf.message import Message

from onex_grpc.contract import data
from onex_grpc.effect.operation import EffectRequest, Progress, Repeat
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


@dataclass(frozen=True, slots=True)
class CustomCall:
    """What a handler of a custom operation gets besides the message.

    Attributes:
        target: the target's name; empty for an operation without one.
        options: the target's options.
        idempotency_key: hand it to the outside system if that keeps keys; empty without one.
        correlation_id: UUID text.
    """

    target: str
    options: Mapping[str, str] = field(repr=False)
    idempotency_key: str
    correlation_id: str


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

    @property
    def names(self) -> list[str]:
        """The full names of the message types, sorted."""
        return sorted(self._by_name)

    def plan(self, request: EffectRequest, options: Mapping[str, str] = _NO_OPTIONS) -> Plan:
        """The operation with its message read; raises OperationRefusedError for an unknown type."""
        refuse_kind(request, "custom")
        name = request.operation.custom.TypeName()
        registered = self._by_name.get(name)
        if registered is None:
            known = ", ".join(self.names) or "none"
            raise OperationRefusedError(
                f"this node has no operation for messages of type {name!r}; known are {known}",
                context={"type": name},
            )
        message = data.unpack_any(request.operation.custom)
        call = CustomCall(request.target, options, request.key, request.correlation_id)

        async def perform(progress: Progress) -> Outcome:
            progress.begun = True
            return Outcome(data.pack(await _handle(registered, message, call)))

        return Plan(True, registered.repeat, perform)

    def _add(self, message_type: type[M], handler: CustomHandler[M], repeat: Repeat) -> None:
        name = message_type.DESCRIPTOR.full_name
        if name in self._by_name:
            raise ConfigurationError(f"two handlers are registered for messages of type {name}")
        untyped = cast("CustomHandler[Message]", handler)
        self._by_name[name] = _Registered(message_type, untyped, repeat)


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

    def plan(self, request: EffectRequest) -> Plan:
        """The node's own operation for the message, with the target's options."""
        return self._operations.plan(request, self._options)
